// Sends the chosen file in pieces, because one request may have 2.5 MB only. Then the form goes off without the file.
// Without this script the form sends a small file itself.

const ATTEMPTS = 4; // of each piece
const PAUSE = 1000;

const form = document.getElementById("import");
const input = form.elements.file;
const bar = document.getElementById("sent");
const error = document.getElementById("upload-error");
const token = form.elements.csrfmiddlewaretoken.value;
const { piecesUrl } = form.dataset;
const maxBytes = Number(form.dataset.maxBytes);
const pieceBytes = Number(form.dataset.pieceBytes);

async function post(url, body) {
  const response = await fetch(url, { method: "POST", headers: { "X-CSRFToken": token }, body });
  if (response.redirected || response.status === 403) location.reload(); // the session has ended
  if (response.status >= 500) throw new Error(`status ${response.status}`);
  return response.json();
}

// A piece may be sent again: the server keeps the last one of each number.
async function postPatiently(url, body) {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    try {
      return await post(url, body);
    } catch {
      await new Promise((resolve) => setTimeout(resolve, PAUSE * attempt));
    }
  }
  return { error: "The service does not answer. Try again later." };
}

async function send(file) {
  if (file.size > maxBytes) throw new Error(`The file is larger than ${Math.floor(maxBytes / 1024 / 1024)} MB.`);
  if (!file.size) throw new Error("The file is empty.");
  let upload = "";
  for (let number = 0; number * pieceBytes < file.size; number += 1) {
    const query = new URLSearchParams({ upload, number, name: file.name });
    // As bytes: a Blob would bring its own Content-Type.
    const piece = await file.slice(number * pieceBytes, (number + 1) * pieceBytes).arrayBuffer();
    const answer = await postPatiently(`${piecesUrl}?${query}`, piece);
    if (answer.error) throw new Error(answer.error);
    upload = answer.upload;
    bar.value = Math.min(1, ((number + 1) * pieceBytes) / file.size);
  }
  return upload;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  bar.hidden = false;
  error.hidden = true;
  try {
    form.elements.upload.value = await send(input.files[0]);
    input.disabled = true; // the form does not send it again
    form.submit();
  } catch (failure) {
    error.textContent = failure.message;
    error.hidden = false;
    button.disabled = false;
    bar.hidden = true;
  }
});

// The page may come back from the browser's memory with the state of its last submission.
window.addEventListener("pageshow", () => {
  input.disabled = false;
  form.elements.upload.value = "";
  form.querySelector("button").disabled = false;
  bar.hidden = true;
});
