// node call.js URL FARM HEADERS: makes the calls of test_clients.py and prints the answers as JSON.
// tsc checks it against schema.ts, which openapi-typescript generates.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };

type Problem = components["schemas"]["Problem"];
type Answer<Data> = { data?: Data; error?: Problem };

function found<Data>({ data, error }: Answer<Data>): Data {
  if (data === undefined) throw new Error(error?.detail);
  return data;
}

function refused({ error }: Answer<unknown>): Pick<Problem, "status" | "code" | "errors"> {
  if (error === undefined) throw new Error("not refused");
  return { status: error.status, code: error.code, errors: error.errors };
}

const [baseUrl, farm, headers] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl, headers: JSON.parse(headers) });
const offer = { commodity: "mango", grade: "A", farm: Number(farm), price: "12.50" } as const;

const listed = found(await client.GET("/products", { params: { query: { sort: "name", limit: 2 } } }));
const [first, second] = listed.results.map((product) => product.id);
const ids = [second, first, 999999999999];
const selected = found(await client.GET("/products", { params: { query: { ids, fields: ["name", "price"] } } }));
const product = found(await client.GET("/products/{id}", { params: { path: { id: first } } }));
const created = found(await client.POST("/products", { body: { ...offer, name: "Zill Mango" } }));

console.log(
  JSON.stringify({
    listed: listed.results.map(({ name }) => name),
    selected: selected.results,
    missing: selected.missing,
    product: product.commodity.slug,
    created: created.name,
    refusedRead: refused(await client.GET("/products", { params: { query: { limit: 101 } } })),
    refusedWrite: refused(await client.POST("/products", { body: { ...offer, name: "!!!" } })),
  }),
);
