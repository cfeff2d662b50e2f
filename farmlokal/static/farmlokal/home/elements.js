// Builds elements. Texts of the API become text nodes, never HTML.

/** element("a", {href: "#"}, "text", child…). Members are properties, or attributes if their name has a "-". */
export function element(name, members = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(members)) {
    if (key.includes("-")) made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** ₹1,20,000 for ("120000.00", "INR"), and ₹37.50 for ("37.50", "INR"). */
export function money(amount, currency) {
  const options = { style: "currency", currency, trailingZeroDisplay: "stripIfInteger" };
  return new Intl.NumberFormat("en-IN", options).format(amount);
}

export const number = (value) => value.toLocaleString("en-IN");

export const day = (time) => new Date(time).toLocaleDateString("en-IN", { dateStyle: "medium" });

export const bytes = (count) => (count < 1000 ? `${count} B` : `${(count / 1000).toFixed(1)} kB`);

export const organic = (product) => (product.organic ? element("span", { className: "badge organic" }, "Organic") : null);

export function stock(product) {
  const [className, text] = product.in_stock ? ["badge", "In stock"] : ["badge out", "Sold out"];
  return element("span", { className }, text);
}

export function price(product) {
  const amount = element("b", {}, money(product.price, product.currency));
  return element("span", { className: "price" }, amount, ` / ${product.unit}`);
}
