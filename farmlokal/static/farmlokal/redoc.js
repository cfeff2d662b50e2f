"use strict";

const page = document.getElementById("redoc");
const font = "system-ui, sans-serif";

// Redoc asks another host for its logo. The page's Content-Security-Policy stops that, and Redoc goes without.
Redoc.init(page.dataset.document, { theme: { typography: { fontFamily: font, headings: { fontFamily: font } } } }, page);
