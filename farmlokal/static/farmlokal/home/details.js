// The dialog with one product, and the delivery quote for it. Its address is the page's with #product-ID.

import { Channel } from "./api.js";
import { day, element, money, number, organic, price, stock } from "./elements.js";
import { showRequest } from "./request.js";

const byId = (id) => document.getElementById(id);
const [dialog, name, body, form, fee] = ["details", "details-name", "details-body", "quote", "fee"].map(byId);
const products = new Channel();
const quotes = new Channel();
let shownId = null;

export const idInAddress = () => /^#product-([0-9]{1,18})$/.exec(location.hash)?.[1] ?? null;

/** Open, change or close the dialog, as the page's address says. */
export async function syncDetails() {
  const id = idInAddress();
  if (id === shownId) return;
  shownId = id;
  products.abort();
  quotes.abort();
  if (id === null) {
    dialog.close();
    return;
  }
  name.textContent = "Loading…";
  body.replaceChildren();
  form.hidden = true;
  fee.textContent = "";
  if (!dialog.open) dialog.showModal();
  const answer = await products.get(`${location.origin}/products/${id}`);
  if (!answer) return;
  showRequest(answer);
  if (answer.status === 200) showProduct(answer.body);
  else showFailure(answer);
}

function showProduct(product) {
  name.textContent = product.name;
  const rows = {
    Commodity: `${product.commodity.name} (${product.category.name})`,
    Variety: product.variety,
    Grade: product.grade,
    Farm: product.farm.name,
    Place: `${product.district.name}, ${product.state.name}`,
    Stock: `${number(product.stock)} ${product.unit}`,
    Listed: day(product.created_at),
    Changed: day(product.updated_at),
  };
  const shown = Object.entries(rows).filter(([, value]) => value);
  const entries = shown.map(([term, value]) => element("div", {}, element("dt", {}, term), element("dd", {}, value)));
  body.replaceChildren(
    element("p", { className: "badges" }, price(product), ...[stock(product), organic(product)].filter(Boolean)),
    element("p", {}, product.description),
    element("dl", {}, ...entries),
  );
  form.hidden = false;
}

function showFailure({ status, body: document }) {
  name.textContent = status === 404 ? "This product is no longer listed" : (document?.title ?? `Status ${status}`);
  body.replaceChildren(element("p", {}, document?.detail ?? ""));
}

async function showQuote() {
  fee.textContent = "Asking the partner…";
  const pincode = encodeURIComponent(form.elements.pincode.value);
  const answer = await quotes.get(`${location.origin}/products/${shownId}/delivery-quote?pincode=${pincode}`);
  if (!answer) return;
  showRequest(answer);
  fee.textContent = answer.status === 200 ? describe(answer.body) : (answer.body?.title ?? `Status ${answer.status}`);
}

function describe(quote) {
  if (!quote.available) return "The partner does not deliver there.";
  const age = quote.stale ? ` (quoted on ${day(quote.quoted_at)})` : "";
  return `${money(quote.fee, quote.currency)}, in about ${quote.eta_hours} hours${age}`;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  showQuote();
});

// A click beside the dialog closes it.
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});

// Closed by Escape, a button or a click: the address follows. A visitor who came from the list goes back to it.
dialog.addEventListener("close", () => {
  if (idInAddress() === null) return;
  if (history.state?.isInside) history.back();
  else {
    history.replaceState(null, "", location.pathname + location.search);
    syncDetails();
  }
});
