// The states of the parts, and the clients with the most refusals.

import { html } from "./elements.js";

const SIGNS = { good: "✓", warning: "!", bad: "✕", unknown: "?" };

export function showParts(list, parts) {
  list.replaceChildren(
    ...parts.map((part) =>
      html(
        "article",
        { class: `operations-part ${part.level}` },
        html("h3", {}, html("span", { class: "sign", role: "img", "aria-label": part.level }, SIGNS[part.level]), ` ${part.name}`),
        html("p", {}, part.state),
        html("dl", {}, ...Object.entries(part.facts).flatMap(([name, fact]) => [html("dt", {}, name), html("dd", {}, fact)])),
      ),
    ),
  );
}

export function showClients(table, clients) {
  const rows = clients.map(({ policy, client, refusals }) =>
    html("tr", {}, html("th", { scope: "row" }, client), html("td", {}, policy), html("td", {}, refusals.toLocaleString("en-IN"))),
  );
  const none = html("tr", {}, html("td", { colspan: 3 }, "No client has been refused."));
  const heads = ["Client", "Limit", "Refusals"].map((head) => html("th", { scope: "col" }, head));
  table.replaceChildren(html("thead", {}, html("tr", {}, ...heads)), html("tbody", {}, ...(rows.length ? rows : [none])));
}
