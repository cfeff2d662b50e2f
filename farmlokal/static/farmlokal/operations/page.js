// Asks for the data every ten seconds while the tab is visible, and shows it.

import { drawChart } from "./charts.js";
import { html } from "./elements.js";
import { showClients, showParts } from "./parts.js";

const PAUSE_MS = 10_000;
const TIMEOUT_MS = 8_000;

const root = document.getElementById("operations");
const part = (name) => document.getElementById(`operations-${name}`);
let data = null; // the last answer
let timer = null;
let request = new AbortController(); // the one that is on its way

class LoggedOutError extends Error {}

async function load() {
  clearTimeout(timer);
  request.abort();
  const mine = (request = new AbortController());
  const limit = setTimeout(() => mine.abort(new Error("no answer in time")), TIMEOUT_MS);
  try {
    data = await ask(mine.signal);
    show();
  } catch (error) {
    if (mine !== request) return; // another request has replaced this one
    showTrouble(error);
  } finally {
    clearTimeout(limit);
  }
  timer = document.hidden ? null : setTimeout(load, PAUSE_MS);
}

async function ask(signal) {
  const hours = new FormData(root.querySelector("form")).get("hours");
  const response = await fetch(`${root.dataset.source}?hours=${hours}`, { signal, redirect: "manual" });
  if (response.type === "opaqueredirect") throw new LoggedOutError();
  if (!response.ok) throw new Error(`the answer is ${response.status}`);
  return response.json();
}

function show() {
  root.classList.remove("stale");
  part("trouble").textContent = "";
  part("fresh").textContent = `As of ${data.at}`;
  part("note").textContent = data.note;
  showParts(part("parts"), data.parts);
  showClients(part("limited"), data.clients);
  drawCharts();
}

function drawCharts() {
  for (const figure of root.querySelectorAll("[data-chart]")) {
    const chart = data?.charts[figure.dataset.chart];
    if (chart) drawChart(figure, chart, data.labels);
  }
}

function showTrouble(error) {
  root.classList.add("stale");
  const since = data ? `No data since ${data.at}` : "No data";
  if (error instanceof LoggedOutError) {
    part("trouble").replaceChildren(`${since}: you are logged out. `, html("a", { href: "" }, "Log in again"));
    return;
  }
  part("trouble").textContent = `${since} (${error.message}). The page tries again every 10 seconds.`;
}

document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : load()));
root.querySelector("form").addEventListener("change", load);
new ResizeObserver(drawCharts).observe(part("charts").parentElement);
load();
