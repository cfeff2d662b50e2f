"use strict";

const express = require("express");
const pinoHttp = require("pino-http");
const { hasLogs, newLogger, observe, page, requestId, serve } = require("./common");

const app = express();
app.set("etag", false); // the cached page brings its tag
app.disable("x-powered-by");

if (hasLogs) {
  app.use(
    pinoHttp({
      logger: newLogger(),
      quietReqLogger: true,
      genReqId: (request) => requestId(request.headers["x-request-id"]),
      serializers: {
        req: ({ method, url, remoteAddress }) => ({ method, url, remoteAddress }),
        res: ({ statusCode }) => ({ statusCode }),
      },
    }),
  );
  app.use((request, response, next) => {
    const start = performance.now();
    response.on("finish", () => {
      observe(request.method, request.route?.path, response.statusCode, (performance.now() - start) / 1000);
    });
    next();
  });
} else {
  app.use((request, _response, next) => {
    request.id = requestId(request.headers["x-request-id"]);
    next();
  });
}

app.get("/products", async (request, response) => {
  const { url, socket, headers, id } = request;
  const answer = await page(url, socket.remoteAddress, headers["if-none-match"], id);
  response.status(answer.status).set(answer.headers);
  if (answer.body) response.setHeader("content-type", answer.headers["content-type"]); // set() adds a charset
  response.send(answer.body);
});

serve(({ port, host }) => app.listen(port, host));
