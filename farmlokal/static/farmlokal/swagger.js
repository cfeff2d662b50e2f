"use strict";

const page = document.getElementById("swagger");

// A write by "Try it out" carries the session of the admin; the service asks for this token with it.
function withCsrfToken(request) {
  const token = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/);
  if (token && request.method !== "GET") request.headers["X-CSRFToken"] = token[1];
  return request;
}

SwaggerUIBundle({
  url: page.dataset.document,
  domNode: page,
  deepLinking: true,
  validatorUrl: null, // it would send the document to another host
  requestInterceptor: withCsrfToken,
});
