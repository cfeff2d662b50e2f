// The page's address and the API's have the same query, so a program can ask for what a visitor sees.

const PAGE_SIZE = 12;
const NAMES = ["q", "category", "state", "price_min", "price_max", "organic", "in_stock", "sort"];

/** The known parameters of a query, in one order. Others, such as those of newsletters, would be errors for the API. */
function known(values) {
  const pairs = [...NAMES, "cursor"].map((name) => [name, (values.get(name) ?? "").trim()]);
  return new URLSearchParams(pairs.filter(([, value]) => value));
}

export const ofPage = () => known(new URLSearchParams(location.search));
export const ofForm = (form) => known(new FormData(form));

/** The same listing at the cursor of one of the API's links. */
export function atLink(query, link) {
  const moved = new URLSearchParams(query);
  moved.set("cursor", new URL(link).searchParams.get("cursor"));
  return moved;
}

export function withoutCursor(query) {
  const first = new URLSearchParams(query);
  first.delete("cursor");
  return first;
}

export const countFilters = (query) => NAMES.filter((name) => !["q", "sort"].includes(name) && query.has(name)).length;

/** The address of the page for a query; "./" drops the query. */
export const pageUrl = (query) => (query.size ? `?${query}` : "./");

export function apiUrl(query) {
  const wanted = new URLSearchParams(query);
  wanted.append("limit", PAGE_SIZE);
  return `${location.origin}/products?${wanted}`;
}

/** Show a query in the form, without touching a field that already has the value: the cursor would move. */
export function fill(form, query) {
  for (const name of NAMES) {
    const field = form.elements[name];
    const value = query.get(name) ?? "";
    if (field.type === "checkbox") field.checked = value === field.value;
    else if (field.value.trim() !== value) {
      if (field.options && ![...field.options].some((option) => option.value === value)) field.add(new Option(value));
      field.value = value;
    }
  }
}
