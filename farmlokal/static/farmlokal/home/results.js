// One page of products: cards, links to the pages beside it, and what to do when there is none.

import { element, organic, price, stock } from "./elements.js";
import { atLink, pageUrl, withoutCursor } from "./query.js";

const byId = (id) => document.getElementById(id);
const [list, status, problem] = ["products", "status", "problem"].map(byId);
const HUES = 6;
let countdown = 0;

export function showLoading() {
  list.ariaBusy = "true";
  status.textContent = "Loading…";
}

/** answer: as Channel.get() returns it. retry(): asks again. */
export function showAnswer(answer, query, retry) {
  clearInterval(countdown);
  list.ariaBusy = "false";
  const isPage = answer.status === 200 && Array.isArray(answer.body?.results);
  problem.hidden = isPage;
  list.hidden = !isPage;
  setLinks(isPage ? answer.body : {}, query);
  if (isPage) showPage(answer.body, query);
  else showProblem(answer, query, retry);
}

function showPage({ results, next }, query) {
  list.replaceChildren(...results.map(card));
  if (results.length) {
    status.textContent = `${results.length} ${results.length === 1 ? "product" : "products"}${next ? ", and more on the next page" : ""}`;
  } else if (next) {
    status.textContent = "No match among the products searched so far. The next page searches on.";
  } else {
    status.textContent = query.has("cursor") ? "There are no more products." : "No product matches. Try fewer filters.";
  }
}

function card(product) {
  const place = `${product.district.name}, ${product.state.name}`;
  const kind = `${product.commodity.name} · ${product.category.name}`;
  const hue = [...product.category.slug].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) % HUES;
  return element(
    "li",
    { "data-hue": hue },
    element("p", { className: "kind" }, element("span", {}, kind), organic(product)),
    element("h3", {}, element("a", { href: `#product-${product.id}` }, product.name)),
    element("p", { className: "farm" }, element("span", {}, product.farm.name), element("span", {}, place)),
    element("p", { className: "foot" }, price(product), stock(product)),
  );
}

function setLinks(page, query) {
  for (const name of ["previous", "next"]) {
    const link = byId(name);
    if (page[name]) link.href = pageUrl(atLink(query, page[name]));
    else link.removeAttribute("href"); // a link without an address takes no focus and no click
  }
}

function showProblem(answer, query, retry) {
  const { title, detail = "" } = answer.body ?? { title: `The answer has the status ${answer.status}` };
  const action = wayOut(answer, query, retry);
  problem.replaceChildren(element("h3", {}, title), element("p", {}, detail), action);
  status.textContent = "";
  const seconds = Number(answer.headers.get("Retry-After"));
  if (seconds) countDown(action, seconds, retry);
}

/** A refused query stays refused: then the way out leads to another one. */
function wayOut({ status: code, body }, query, retry) {
  const link = (to, text) => element("a", { href: pageUrl(to), className: "button" }, text);
  if (body?.code === "cursor-invalid") return link(withoutCursor(query), "Go to the first page");
  if (code === 400) return link(new URLSearchParams(), "Show all products");
  return element("button", { type: "button", onclick: retry }, "Try again");
}

/** Ask again when the service said so. The visitor may do it earlier. */
function countDown(button, seconds, retry) {
  const due = Date.now() + seconds * 1000;
  const tick = () => {
    const left = Math.ceil((due - Date.now()) / 1000);
    button.textContent = `Try again (in ${left} s by itself)`;
    if (left <= 0) retry();
  };
  tick();
  countdown = setInterval(tick, 1000);
}
