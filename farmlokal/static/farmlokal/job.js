// Drives a running job: asks the server for its next second of work, again and again, and shows the numbers.
// A user who may only look at the job gets fresh numbers.

const PAUSE = 100; // between two requests, so that other staff get a thread of the server
const BUSY_PAUSE = 1000; // another page or a worker does the job's next step
const ERROR_PAUSE = 3000;
const LOOK_PAUSE = 3000;
const SMOOTHING = 0.2; // of the rate

const page = document.getElementById("job");
const token = page.querySelector("[name=csrfmiddlewaretoken]")?.value;
const { advanceUrl, progressUrl } = page.dataset;
const field = (name) => page.querySelector(`[data-job=${name}]`);
const number = new Intl.NumberFormat("en-IN");
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

let last = null;
let rate = null;

async function ask() {
  const headers = { Accept: "application/json" };
  const request = advanceUrl
    ? fetch(advanceUrl, { method: "POST", headers: { ...headers, "X-CSRFToken": token } })
    : fetch(progressUrl, { headers });
  const response = await request;
  if (response.redirected || response.status === 403) location.reload(); // the session has ended
  if (!response.ok) throw new Error(`status ${response.status}`);
  return response.json();
}

function measure(progress) {
  const now = performance.now();
  if (last && now > last.at) {
    const current = ((progress.done - last.done) * 1000) / (now - last.at);
    rate = rate === null ? current : rate + SMOOTHING * (current - rate);
  }
  last = { at: now, done: progress.done };
}

function duration(seconds) {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  if (seconds < 3600) return `${Math.ceil(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h ${Math.ceil((seconds % 3600) / 60)} min`;
}

function show(progress) {
  for (const name of ["done", "changed", "unchanged", "failed"]) field(name).textContent = number.format(progress[name]);
  for (const name of ["status", "error"]) field(name).textContent = progress[name];
  field("error").hidden = !progress.error;
  if (progress.total !== null) {
    field("bar").max = Math.max(progress.total, 1);
    field("bar").value = progress.done;
    if (field("total_text")) field("total_text").textContent = progress.total_text;
  }
  if (rate > 0) {
    field("rate").textContent = `${number.format(Math.round(rate))} a second`;
    if (progress.total !== null) field("remaining").textContent = duration((progress.total - progress.done) / rate);
  }
}

async function follow() {
  for (;;) {
    try {
      const progress = await ask();
      measure(progress);
      show(progress);
      field("note").textContent = "";
      if (progress.status !== "running") return location.reload(); // with its failures and its other buttons
      await pause(!advanceUrl ? LOOK_PAUSE : progress.is_driving ? PAUSE : BUSY_PAUSE);
    } catch {
      field("note").textContent = "The service does not answer. Trying again.";
      await pause(ERROR_PAUSE);
    }
  }
}

if (page.dataset.status === "running") follow();
