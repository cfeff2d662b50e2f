// The last request of the page as a curl command, and facts about its answer.

import { bytes } from "./elements.js";

const byId = (id) => document.getElementById(id);
const [curl, copy, answerLine] = ["curl", "copy", "answer"].map(byId);

/** answer: as Channel.get() returns it. */
export function showRequest({ url, status, headers, ms, bytes: size }) {
  curl.textContent = `curl -s '${url}'`; // URLSearchParams has escaped all quotes
  if (!status) {
    answerLine.textContent = "no answer";
    return;
  }
  const cache = headers.get("X-Cache");
  const facts = [status, cache && `X-Cache: ${cache}`, `${Math.round(ms)} ms`, bytes(size)];
  answerLine.textContent = facts.filter(Boolean).join(" · ");
}

copy.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(curl.textContent);
    copy.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(curl); // over plain HTTP browsers offer no clipboard
    copy.textContent = "Ctrl+C";
  }
  setTimeout(() => (copy.textContent = "Copy"), 2000);
});
