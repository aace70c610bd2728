// The Authorize button and the "Try it" forms of the API reference. The access token is only in a variable of this
// page; it is never stored.
"use strict";

const server = document.getElementById("reference").dataset;
const pendingKey = "valetkey-docs"; // session storage, during the visit to the consent page: the verifier, no token
const displayedHeaders = [
  "content-type", "ratelimit-policy", "ratelimit", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset",
  "retry-after", "www-authenticate", "location", "link", "etag", "deprecation", "sunset", "idempotent-replayed", "request-id",
];
let token = null;
let expiryTimer = 0;

const find = (id) => document.getElementById(id);

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function randomString() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

// Show a problem with the authorization; an empty text hides it.
function showProblem(text) {
  const problem = find("authorize-problem");
  problem.textContent = text;
  problem.hidden = !text;
}

// Send the user to the consent page. The code verifier stays here; its hash is sent (RFC 7636 §4.1).
async function authorize(event) {
  event.preventDefault();
  const boxes = [...document.querySelectorAll("#authorize-form [name=scope]")];
  const scopes = boxes.filter((box) => box.checked).map((box) => box.value);
  if (boxes.length && !scopes.length) { // without the parameter, the server would take its default: more than none
    showProblem("Tick at least one scope.");
    return;
  }
  showProblem("");
  const pending = { verifier: randomString(), state: randomString(), hash: location.hash };
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(pending.verifier));
  sessionStorage.setItem(pendingKey, JSON.stringify(pending));
  const request = new URLSearchParams({
    response_type: "code",
    client_id: server.clientId,
    redirect_uri: server.redirectUri,
    state: pending.state,
    code_challenge: base64url(new Uint8Array(digest)),
    code_challenge_method: "S256",
  });
  if (scopes.length) request.set("scope", scopes.join(" "));
  if (server.resource) request.set("resource", server.resource);
  location.assign(`${server.authorize}?${request}`);
}

// Handle the authorization response in the page's URL, if there is one.
async function handleRedirect() {
  const response = new URLSearchParams(location.search);
  const pending = JSON.parse(sessionStorage.getItem(pendingKey) || "null");
  sessionStorage.removeItem(pendingKey);
  if (!response.has("state")) return;
  history.replaceState(null, "", server.here + (pending ? pending.hash : "")); // remove the code from the URL
  // A response to another request, or from another issuer: RFC 9700 §4.4, §4.7
  if (!pending || response.get("state") !== pending.state || response.get("iss") !== server.issuer) {
    showProblem("The answer was not to a question of this page. Press Authorize again.");
    return;
  }
  if (response.has("error")) {
    const denied = response.get("error") === "access_denied";
    showProblem(denied ? "You did not allow it. Nothing was given to this page." : response.get("error_description") || response.get("error"));
    return;
  }
  await redeem(response.get("code"), pending.verifier);
}

async function redeem(code, verifier) {
  const body = new URLSearchParams({
    grant_type: "authorization_code", code, code_verifier: verifier,
    client_id: server.clientId, redirect_uri: server.redirectUri,
  });
  try {
    const response = await fetch(server.token, { method: "POST", body, credentials: "omit" });
    const tokenResponse = await response.json();
    if (!response.ok) throw new Error(tokenResponse.error_description || tokenResponse.error);
    token = tokenResponse.access_token;
    showToken(tokenResponse);
  } catch (problem) {
    showProblem(`No token was given: ${problem.message}. Press Authorize again.`);
  }
}

function showToken(tokenResponse) {
  const expires = new Date(Date.now() + tokenResponse.expires_in * 1000);
  const scopes = (tokenResponse.scope || "").split(" ").filter(Boolean).join(", ") || "no scope";
  const clock = expires.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  find("authorized-words").textContent = `Authorized: ${scopes}. Good until ${clock}, or until this page is left.`;
  find("authorized").hidden = false;
  find("authorize-form").hidden = find("authorize-about").hidden = true;
  showProblem("");
  expiryTimer = setTimeout(() => dropToken("The token has expired."), tokenResponse.expires_in * 1000);
  updateTokenHints();
}

// Delete the token from this page and show the Authorize form again, with the reason if there is one.
function dropToken(reason) {
  clearTimeout(expiryTimer);
  token = null;
  find("authorized").hidden = true;
  find("authorize-form").hidden = find("authorize-about").hidden = false;
  showProblem(reason);
  updateTokenHints();
}

// Delete the token from this page and revoke it (RFC 7009).
async function revokeToken() {
  const body = new URLSearchParams({ token, client_id: server.clientId });
  dropToken("");
  find("authorize").focus();
  try {
    await fetch(server.revoke, { method: "POST", body, credentials: "omit" });
  } catch {
    showProblem("The server could not be told; the token will expire by itself.");
  }
}

function updateTokenHints() {
  for (const form of document.querySelectorAll("form.try[data-needs-token=yes]")) {
    form.querySelector(".token-hint").textContent = token ? "with your token" : `without a token: ${find("token-form") ? "paste one above" : "press Authorize above to get one"}`;
  }
}

// Send the pasted token of another authorization server from now on; with an empty field, none.
function useToken(event) {
  event.preventDefault();
  token = find("pasted-token").value.trim() || null;
  updateTokenHints();
}

// Build the arguments of `fetch` from the fields of a "Try it" form.
function buildRequest(form) {
  let path = form.dataset.path;
  const query = new URLSearchParams();
  const headers = token && form.dataset.needsToken === "yes" ? { Authorization: `Bearer ${token}` } : {};
  let body;
  for (const field of form.querySelectorAll("[data-in]")) {
    const value = field.value;
    if (field.dataset.in === "path") path = path.replace(`{${field.name}}`, encodeURIComponent(value));
    else if (field.dataset.in === "body") [body, headers["Content-Type"]] = [value, "application/json"];
    else if (value === "") continue;
    else if (field.dataset.in === "header") headers[field.name] = value;
    else for (const item of field.dataset.several ? value.split(",") : [value]) query.append(field.name, item.trim());
  }
  const url = server.serverPath + path + (query.toString() ? `?${query}` : "");
  return [url, { method: form.dataset.method, headers, body, credentials: "omit", cache: "no-store" }];
}

async function send(event) {
  event.preventDefault();
  const form = event.currentTarget;
  const result = form.querySelector(".result");
  result.replaceChildren(element("p", "muted", "Sending…"));
  const startedAt = performance.now();
  try {
    const response = await fetch(...buildRequest(form));
    const text = await response.text();
    result.replaceChildren(...renderResponse(response, text, Math.round(performance.now() - startedAt)));
  } catch {
    result.replaceChildren(element("p", "note bad", "The server could not be reached."));
  }
}

function element(name, className, text) {
  const created = document.createElement(name);
  created.className = className;
  created.textContent = text;
  return created;
}

// Return the elements that show a response: status and duration, headers, body.
function renderResponse(response, text, milliseconds) {
  const statusLine = element("p", "answered", "");
  statusLine.append(element("strong", `status s${String(response.status)[0]}`, String(response.status)));
  statusLine.append(` ${response.statusText} in ${milliseconds} ms`);
  const headers = element("dl", "facts", "");
  for (const name of displayedHeaders.filter((header) => response.headers.has(header))) {
    const row = document.createElement("div");
    row.append(element("dt", "", name), element("dd", "", response.headers.get(name)));
    headers.append(row);
  }
  const body = element("pre", "", formatBody(text) || "(no body)");
  body.tabIndex = 0;
  body.setAttribute("role", "region");
  body.setAttribute("aria-label", "Body of the answer");
  return [statusLine, headers, body];
}

// Indent JSON; return at most 100,000 characters.
function formatBody(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2).slice(0, 100000);
  } catch {
    return text.slice(0, 100000);
  }
}

function start() {
  find("authorize-part").hidden = false;
  find("without-script").hidden = true;
  for (const form of document.querySelectorAll("form.try")) {
    form.hidden = false;
    form.addEventListener("submit", send);
  }
  updateTokenHints();
  if (find("token-form")) find("token-form").addEventListener("submit", useToken);
  if (!find("authorize-form")) return; // tokens come from another server, or the operator disabled this page's client
  find("forget").addEventListener("click", revokeToken);
  if (location.origin !== new URL(server.issuer).origin) {
    find("authorize-form").hidden = true;
    showProblem(`To authorize, open this page at ${server.issuer}: tokens are given to that address only.`);
    return;
  }
  find("authorize-form").addEventListener("submit", authorize);
  handleRedirect();
}

start();
