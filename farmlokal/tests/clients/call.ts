// node call.js URL FARM HEADERS: calls the service and prints the responses as JSON, for test_clients.py.
// tsc checks it against schema.ts, which openapi-typescript generates.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };

type Problem = components["schemas"]["Problem"];
type Result<Data> = { data?: Data; error?: Problem };

function dataOf<Data>({ data, error }: Result<Data>): Data {
  if (data === undefined) throw new Error(error?.detail);
  return data;
}

function problemOf({ error }: Result<unknown>): Pick<Problem, "status" | "code" | "errors"> {
  if (error === undefined) throw new Error("no problem");
  return { status: error.status, code: error.code, errors: error.errors };
}

const [baseUrl, farm, headers] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl, headers: JSON.parse(headers) });
const offer = { commodity: "mango", grade: "A", farm: Number(farm), price: "12.50" } as const;

const listed = dataOf(await client.GET("/products", { params: { query: { sort: "name", limit: 2 } } }));
const [first, second] = listed.results.map((product) => product.id);
const ids = [second, first, 999999999999];
const selected = dataOf(await client.GET("/products", { params: { query: { ids, fields: ["name", "price"] } } }));
const product = dataOf(await client.GET("/products/{id}", { params: { path: { id: first } } }));
const created = dataOf(await client.POST("/products", { body: { ...offer, name: "Zill Mango" } }));

console.log(
  JSON.stringify({
    listed: listed.results.map(({ name }) => name),
    selected: selected.results,
    missing: selected.missing,
    product: product.commodity.slug,
    created: created.name,
    readProblem: problemOf(await client.GET("/products", { params: { query: { limit: 101 } } })),
    writeProblem: problemOf(await client.POST("/products", { body: { ...offer, name: "!!!" } })),
  }),
);
