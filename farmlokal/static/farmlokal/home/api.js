// Requests to the public API. A channel sends one at a time: a new request ends the one before.

const TIMEOUT_MS = 15_000;

export class Channel {
  #current = null;

  /** {url, status, headers, body, ms, bytes}; null if a newer request ended this one.
   *
   * body is the JSON, or null. Failures have the status 0: body is then a problem document of our own.
   */
  async get(url) {
    this.abort();
    const controller = (this.#current = new AbortController());
    const timer = setTimeout(() => controller.abort("timeout"), TIMEOUT_MS);
    const start = performance.now();
    try {
      const response = await fetch(url, { signal: controller.signal });
      const text = await response.text();
      const ms = performance.now() - start;
      const bytes = Number(response.headers.get("Content-Length") ?? new Blob([text]).size);
      return { url, status: response.status, headers: response.headers, body: parse(text), ms, bytes };
    } catch {
      if (controller.signal.aborted && controller.signal.reason !== "timeout") return null;
      return { url, status: 0, headers: new Headers(), body: failure(controller.signal.aborted) };
    } finally {
      clearTimeout(timer);
    }
  }

  abort() {
    this.#current?.abort("replaced");
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null; // a proxy's error page
  }
}

function failure(isTimeout) {
  if (!navigator.onLine) return { title: "You are offline", detail: "The page goes on when the connection is back." };
  if (isTimeout) return { title: "No answer", detail: `The service did not answer in ${TIMEOUT_MS / 1000} s.` };
  return { title: "The service cannot be reached", detail: "The connection failed before an answer came." };
}
