"use strict";

// Shared by both Node peers: two processes; for each request, limiter and cached page in one round trip to Redis.

const cluster = require("node:cluster");
const { randomUUID } = require("node:crypto");
const { readFileSync } = require("node:fs");
const Redis = require("ioredis");
const { Counter, Histogram } = require("prom-client");
const pino = require("pino");

const { HEADERS_FILE, LOGS, PORT, RATE_LIMIT, REDIS_URL, WORKERS } = process.env;
const [REQUESTS, SECONDS] = RATE_LIMIT.split("/").map(Number);
const WINDOW = SECONDS * 1e6;
const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;

// The measured service's headers that are the same in each response.
const HEADERS = JSON.parse(readFileSync(HEADERS_FILE));
const { "content-type": _, ...HEADERS_OF_304 } = HEADERS;

// GCRA (generic cell rate algorithm): stores the theoretical arrival time of the next request that keeps the rate.
// Returns [remaining requests, microseconds until all are available], or [-1, microseconds until the next].
const GCRA = `
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local interval, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local arrival = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + interval
local room = now + window - arrival
if room < 0 then return {-1, -room} end
redis.call('SET', KEYS[1], string.format('%.3f', arrival), 'PX', math.ceil((arrival - now) / 1000))
return {math.floor(room / interval), arrival - now}`;

const redis = new Redis(REDIS_URL, { enableAutoPipelining: true, lazyConnect: true });
redis.defineCommand("gcra", { numberOfKeys: 1, lua: GCRA });

const requests = new Counter({ name: "requests_total", help: "Responses", labelNames: ["method", "route", "status"] });
const seconds = new Histogram({ name: "request_seconds", help: "Time", labelNames: ["method", "route"] });

exports.observe = (method, route, status, duration) => {
  requests.inc({ method, route, status });
  seconds.observe({ method, route }, duration);
};

exports.hasLogs = LOGS === "on";
// Buffered writes are pino's fastest mode.
exports.newLogger = () => pino(pino.destination({ sync: false, minLength: 4096 }));

exports.requestId = (header) => (header && REQUEST_ID.test(header) ? header : randomUUID());

// Returns { status, headers, body }. The cache entry is a line of JSON, the headers of this page, and then the body.
exports.page = async (url, address, tag, id) => {
  const [[room, micros], cached] = await Promise.all([
    redis.gcra(`limit:${address}`, WINDOW / REQUESTS, WINDOW),
    redis.getBuffer(`page:${url}`),
  ]);
  const wait = Math.ceil(micros / 1e6);
  if (room < 0) return { status: 429, headers: { "retry-after": wait, "x-request-id": id } };
  if (!cached) return { status: 404, headers: { "x-request-id": id } };
  const end = cached.indexOf(10);
  const own = JSON.parse(cached.latin1Slice(0, end));
  const changing = { ...own, ratelimit: `"anonymous";r=${room};t=${wait}`, "x-request-id": id };
  if (tag === own.etag) return { status: 304, headers: { ...HEADERS_OF_304, ...changing } };
  return { status: 200, headers: { ...HEADERS, ...changing }, body: cached.subarray(end + 1) };
};

// Call listen(address) in each worker once Redis is connected. If one worker exits, all do.
exports.serve = (listen) => {
  if (!cluster.isPrimary) {
    redis.connect().then(() => listen({ port: Number(PORT), host: "127.0.0.1" }));
    return;
  }
  cluster.on("listening", () => console.log("worker listens"));
  for (let n = 0; n < Number(WORKERS); n++) cluster.fork();
  cluster.on("exit", () => process.exit(1));
};
