"use strict";

const Fastify = require("fastify");
const { hasLogs, newLogger, observe, page, requestId, serve } = require("./common");

const app = Fastify({
  ...(hasLogs ? { loggerInstance: newLogger() } : { logger: false }),
  disableRequestLogging: true, // Fastify logs two lines a request; we log one below
  genReqId: (request) => requestId(request.headers["x-request-id"]),
});

if (hasLogs) {
  app.addHook("onResponse", (request, reply, done) => {
    const { method, url, ip } = request;
    const route = request.routeOptions.url;
    const milliseconds = reply.elapsedTime;
    request.log.info({ method, url, route, status: reply.statusCode, milliseconds, peer: ip }, "request");
    observe(method, route, reply.statusCode, milliseconds / 1000);
    done();
  });
}

app.get("/products", async (request, reply) => {
  const answer = await page(request.url, request.ip, request.headers["if-none-match"], request.id);
  return reply.code(answer.status).headers(answer.headers).send(answer.body);
});

serve((address) => app.listen(address));
