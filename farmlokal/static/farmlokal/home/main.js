// The product browser. The page's address is its state, so reload, back and shared links work.

import { Channel } from "./api.js";
import { idInAddress, syncDetails } from "./details.js";
import { apiUrl, countFilters, fill, ofForm, ofPage, pageUrl } from "./query.js";
import { showRequest } from "./request.js";
import { showAnswer, showLoading } from "./results.js";

const TYPING_PAUSE_MS = 250;
const byId = (id) => document.getElementById(id);
const [form, toggle, filters, status, problem] = ["search", "toggle", "filters", "status", "problem"].map(byId);
const listings = new Channel();
let shown = null; // the query of the listing on the page
let typing = 0;

/** Bring the page to the state in its address. */
async function sync() {
  syncDetails();
  const query = ofPage();
  if (query.toString() === shown) return;
  shown = query.toString();
  fill(form, query);
  const count = countFilters(query);
  toggle.textContent = count ? `Filters (${count})` : "Filters";
  await load(query);
}

async function load(query) {
  showLoading();
  const answer = await listings.get(apiUrl(query));
  if (!answer) return;
  showRequest(answer);
  showAnswer(answer, query, () => load(query));
}

/** Words typed one after the other are one step of the history. */
function go(query, isTyping = false) {
  clearTimeout(typing);
  if (query.toString() === ofPage().toString()) return;
  const step = isTyping && history.state?.isTyping ? "replaceState" : "pushState";
  history[step]({ isTyping }, "", pageUrl(query));
  sync();
}

form.addEventListener("input", ({ target }) => {
  if (target.name !== "q") return;
  clearTimeout(typing);
  typing = setTimeout(() => go(ofForm(form), true), TYPING_PAUSE_MS);
});
form.addEventListener("change", () => go(ofForm(form)));
form.addEventListener("reset", () => setTimeout(() => go(ofForm(form)))); // after the fields are empty
form.addEventListener("submit", (event) => {
  event.preventDefault();
  go(ofForm(form));
});

toggle.addEventListener("click", () => {
  const isOpen = filters.classList.toggle("open");
  toggle.ariaExpanded = isOpen;
});

document.addEventListener("click", (event) => {
  const link = event.target.closest(".results a[href]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return; // those open another tab or window
  event.preventDefault();
  history.pushState({ isInside: true }, "", link.href);
  sync();
  if (idInAddress() === null) status.focus(); // scrolls to the top of the new page, and reads it out
});

addEventListener("popstate", sync);
addEventListener("online", () => {
  if (!problem.hidden) load(ofPage());
});
sync();
