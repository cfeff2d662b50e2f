"use strict";

const page = document.getElementById("redoc");
const font = "system-ui, sans-serif";

// Redoc asks another host for its logo and has no option to leave it out. The page's Content-Security-Policy would stop
// the request, but the browser would report an error at each view. Redoc removes a logo that cannot be shown.
const image = HTMLImageElement.prototype;
const withoutLogo = (url) => (String(url).startsWith("https://cdn.redoc.ly/") ? "data:," : url);

image.setAttribute = function (name, value) {
  Element.prototype.setAttribute.call(this, name, name === "src" ? withoutLogo(value) : value);
};
Object.defineProperty(image, "src", {
  ...Object.getOwnPropertyDescriptor(image, "src"),
  set(url) {
    this.setAttribute("src", url);
  },
});

Redoc.init(page.dataset.document, { theme: { typography: { fontFamily: font, headings: { fontFamily: font } } } }, page);
