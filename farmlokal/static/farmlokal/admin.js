// Menus, keyboard shortcuts and names for the autocomplete fields. The admin works without this script.

const find = (selector) => document.querySelector(selector);

function isTyping(target) {
  return target.isContentEditable || target.closest("textarea, select, .select2-container, input:not([type=checkbox], [type=radio], [type=submit], [type=button])");
}

function save() {
  const button = find(".submit-row [name=_save]") ?? find("[name=_save]") ?? find(".submit-row .default");
  button?.click();
  return Boolean(button);
}

const shortcuts = {
  "/": () => { const box = find("main [type=search]"); box?.focus(); box?.select(); return Boolean(box); },
  n: () => { find("a[rel=next]")?.click(); return true; },
  p: () => { find("a[rel=prev]")?.click(); return true; },
  s: save,
  "?": () => { find("#shortcuts")?.showModal(); return true; },
};

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.altKey || find("dialog[open]")) return;
  if (event.ctrlKey || event.metaKey) {
    if (event.key.toLowerCase() === "s" && !event.shiftKey && save()) event.preventDefault();
  } else if (event.key === "Escape") {
    closeMenus();
  } else if (!event.repeat && !isTyping(event.target) && shortcuts[event.key]?.()) {
    event.preventDefault();
  }
});

function closeMenus(except) {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (menu === except) continue;
    const hadFocus = menu.contains(document.activeElement);
    menu.open = false;
    if (hadFocus) menu.querySelector("summary").focus();
  }
}

document.addEventListener("click", (event) => {
  closeMenus(event.target.closest("details.menu"));
  const dialog = event.target.closest("[data-opens]")?.dataset.opens;
  if (dialog) {
    closeMenus();
    document.getElementById(dialog)?.showModal();
  }
});

// Select2 names its box after its value only, and its search field not at all.
function nameAutocompletes() {
  for (const select of document.querySelectorAll("select.admin-autocomplete")) {
    const label = select.labels[0];
    if (!label) continue;
    label.id ||= `${select.id}_label`;
    for (const box of select.nextElementSibling?.querySelectorAll("[role=combobox], [role=textbox]") ?? []) {
      const value = box.getAttribute("aria-labelledby") ?? box.id;
      box.setAttribute("aria-labelledby", `${label.id} ${value}`);
    }
  }
}

// Django's boxes for permissions have signs with a label, but without a role.
addEventListener("load", () => {
  for (const sign of document.querySelectorAll(".selector span[aria-label]")) sign.setAttribute("role", "img");
});

const jQuery = window.django?.jQuery;
if (jQuery) {
  jQuery(nameAutocompletes);
  jQuery(document).on("select2:open", (event) => {
    const field = find(".select2-container--open .select2-search__field");
    field?.setAttribute("aria-label", `Search ${event.target.labels[0]?.textContent ?? ""}`.replace(/[:\s]+$/, ""));
    field?.focus();
  });
}
