/* What the examples of the conformance page are made of: requests, expectations, and the records they build on. */
"use strict";
(() => {
  const root = document.querySelector("[data-conformance]");
  if (!root || !root.querySelector("[data-run-all]")) return;
  const text = (name) => root.dataset[`text${name}`];
  const csrf = root.querySelector("[name=csrfmiddlewaretoken]").value;
  const SHOWN_HEADERS = [
    "content-type", "location", "etag", "retry-after", "idempotency-replayed", "cache-control", "www-authenticate",
  ];
  const LONGEST_SHOWN = 4000;
  const RESULT_SECONDS = 120;
  const MESSAGE_SECONDS = 30;
  const OWN_WEBHOOKS = "Conformance run";
  const HOUR = 3600 * 1000;

  /* What a check cannot decide here: no worker, no sweeper, a reader who sees every clinic. */
  class Undecided extends Error {}
  /* A step that a check builds on went wrong. */
  class Broken extends Error {}

  const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  const random = () =>
    [...crypto.getRandomValues(new Uint8Array(6))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const written = (value) => (typeof value === "string" ? value : JSON.stringify(value) ?? "–");

  /* --- One run of one check: its requests, and what was expected of the answers --- */
  class Run {
    constructor() {
      this.exchanges = [];
      this.expectations = [];
    }

    async request(method, path, { json, form, headers = {}, isAnonymous = false, isQuiet = false } = {}) {
      const url = new URL(path, new URL(root.dataset.api, location.href));
      const sent = { ...headers };
      if (method !== "GET") sent["X-CSRFToken"] = csrf;
      if (json) sent["Content-Type"] = "application/json";
      const response = await fetch(url, {
        method,
        headers: sent,
        body: json ? JSON.stringify(json) : form,
        credentials: isAnonymous ? "omit" : "same-origin",
        cache: "no-store",
      });
      const type = response.headers.get("Content-Type") || "";
      const body = type.includes("json") ? await response.json() : null;
      const size = body === null ? (await response.blob()).size : 0;
      const answer = { status: response.status, headers: response.headers, body, size };
      answer.transcript = transcript(method, url, { json, form, headers }, answer);
      if (!isQuiet) this.exchanges.push(answer.transcript);
      return answer;
    }

    expect(point, expected, actual) {
      this.expectations.push({ point, expected, actual, isMet: written(expected) === written(actual) });
    }

    expectThat(point, expected, actual, isMet) {
      this.expectations.push({ point, expected, actual, isMet });
    }

    expectProblem(answer, status, code) {
      this.expect("status", status, answer.status);
      this.expect("code", code, answer.body?.code);
      this.expectThat("Content-Type", "application/problem+json", answer.headers.get("Content-Type"),
        (answer.headers.get("Content-Type") || "").startsWith("application/problem+json"));
    }

    get isMet() {
      return this.expectations.length > 0 && this.expectations.every((each) => each.isMet);
    }
  }

  const transcript = (method, url, { json, form, headers }, answer) => {
    const lines = [`${method} ${url.pathname}${url.search}`];
    Object.entries(headers).forEach(([name, value]) => lines.push(`${name}: ${value}`));
    if (json) lines.push("", JSON.stringify(json, null, 2));
    if (form) {
      lines.push("");
      form.forEach((value, name) =>
        lines.push(value instanceof File ? `${name}=@${value.name} (${value.size} B)` : `${name}=${value}`));
    }
    lines.push("", `→ ${answer.status}`);
    SHOWN_HEADERS.filter((name) => answer.headers.has(name)).forEach((name) =>
      lines.push(`${name}: ${answer.headers.get(name)}`));
    if (answer.body !== null) lines.push("", JSON.stringify(hidden(answer.body), null, 2).slice(0, LONGEST_SHOWN));
    else if (answer.size) lines.push("", `(${answer.size} B)`);
    return lines.join("\n");
  };
  /* A secret is shown by the page of webhooks alone. */
  const hidden = (body) => (body.secret ? { ...body, secret: "whsec_…" } : body);

  const need = (answer, status, what) => {
    if (answer.status === status) return answer;
    throw new Broken(`${what}: ${answer.status} ${answer.body?.code ?? ""}`);
  };

  /* --- What checks build on; made when first needed, and anew for every "Run all" --- */
  let made = {};
  const once = (name, make) => async (run) => (made[name] ??= await make(run));
  const forget = (...names) => names.forEach((name) => delete made[name]);

  const newPatient = () => ({
    mrn: `CONF-${random()}`, given_name: "Run", family_name: "Conformance", birth_date: "1970-01-01", sex: "female",
  });
  const registered = async (run) => need(await run.request("POST", "patients/", { json: newPatient() }), 201, "patient");
  const patient = once("patient", registered);
  const secondPatient = once("secondPatient", registered);

  const sample = async (slug) => {
    const response = await fetch(root.dataset[`sample${slug[0].toUpperCase()}${slug.slice(1)}`]);
    if (!response.ok) throw new Broken(`${slug}: ${response.status}`);
    return response.blob();
  };
  const asFile = (blob, name, type = blob.type) => new File([blob], name, { type });
  /* The same picture with one mark of its own: bytes that were sent for another patient are refused. */
  const unseen = async (slug, name) => {
    const picture = await createImageBitmap(await sample(slug));
    const canvas = document.createElement("canvas");
    canvas.width = picture.width;
    canvas.height = picture.height;
    const pen = canvas.getContext("2d");
    pen.drawImage(picture, 0, 0);
    crypto.getRandomValues(new Uint8Array(24)).forEach((level, place) => {
      pen.fillStyle = `rgb(${level} ${level} ${level})`;
      pen.fillRect(8 * place, 0, 8, 8);
    });
    const blob = await new Promise((resolve) => { canvas.toBlob(resolve, "image/jpeg", 0.92); });
    return asFile(blob, name);
  };
  const send = (run, { file, to, key = "", laterality = "R", reference = "" }) => {
    const form = new FormData();
    form.append("patient", to);
    form.append("laterality", laterality);
    if (reference) form.append("external_id", reference);
    form.append("image", file, file.name);
    return run.request("POST", "diagnoses/segment-classify/", { form, headers: key ? { "Idempotency-Key": key } : {} });
  };

  const subscribed = async (run) => {
    const json = {
      url: root.dataset.echo, description: OWN_WEBHOOKS,
      events: ["diagnosis.succeeded", "diagnosis.ungradable", "diagnosis.failed", "review.signed"],
    };
    await removeForgotten(run);
    return run.request("POST", "webhooks/", { json });
  };
  /* Webhooks of runs that were closed half-way. */
  const removeForgotten = async (run) => {
    const { body } = await run.request("GET", "webhooks/?page_size=200", { isQuiet: true });
    const isForgotten = (row) => row.description === OWN_WEBHOOKS && Date.now() - Date.parse(row.created_at) > HOUR;
    for (const row of (body?.results ?? []).filter(isForgotten)) {
      await run.request("DELETE", `webhooks/${row.id}/`, { isQuiet: true });
    }
  };
  const webhook = once("webhook", async (run) => need(await subscribed(run), 201, "webhook"));

  /* A submission, sent after the webhook was there, so that its end is told. */
  const submission = once("submission", async (run) => {
    await webhook(run);
    const [owner, file] = [await patient(run), await unseen("right", "right-eye.jpg")];
    const sent = { file, to: owner.body.id, key: `conformance-${random()}`, reference: `conformance-${random()}` };
    return { ...sent, answer: need(await send(run, sent), 202, "photograph") };
  });

  const ended = async (run, id) => {
    const deadline = Date.now() + RESULT_SECONDS * 1000;
    for (;;) {
      const answer = need(await run.request("GET", `diagnoses/${id}/?wait=20`, { isQuiet: true }), 200, "diagnosis");
      const isOver = Date.now() > deadline;
      if (answer.body.finished_at || isOver) run.exchanges.push(answer.transcript);
      if (answer.body.finished_at) return answer;
      if (isOver) throw new Undecided(text("NoWorker"));
      await pause(1000);
    }
  };
  const result = once("result", async (run) => ended(run, (await submission(run)).answer.body.id));

  /* --- Webhooks: what the echo took --- */
  const message = async (run, isWanted) => {
    const deadline = Date.now() + MESSAGE_SECONDS * 1000;
    for (;;) {
      const answer = await run.request("GET", "sandbox/webhook-echo/", { isQuiet: true });
      const found = need(answer, 200, "echo").body.results.find(isWanted);
      if (found) {
        run.exchanges.push(`${Object.entries(found.headers).map(([name, value]) => `${name}: ${value}`).join("\n")}\n\n${
          JSON.stringify(found.body, null, 2)}`);
        return found;
      }
      if (Date.now() > deadline) throw new Undecided(text("NoCourier"));
      await pause(500);
    }
  };
  const expectSignature = async (run, received) => {
    const secret = (await webhook(run)).body.secret.replace("whsec_", "");
    if (!crypto.subtle) {
      // Browsers compute signatures on https and on this host only; there the echo's own check stands.
      run.expect("signature_valid (checked by the echo)", true, received.signature_valid);
      return;
    }
    const bytes = Uint8Array.from(atob(secret), (letter) => letter.charCodeAt(0));
    const key = await crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    const { "Webhook-Id": id, "Webhook-Timestamp": time, "Webhook-Signature": signatures } = received.headers;
    // The portal writes its messages without blanks, in this order of fields.
    const signed = new TextEncoder().encode(`${id}.${time}.${JSON.stringify(received.body)}`);
    const made64 = btoa(String.fromCharCode(...new Uint8Array(await crypto.subtle.sign("HMAC", key, signed))));
    run.expectThat("Webhook-Signature", `v1,${made64}`, signatures, signatures.split(" ").includes(`v1,${made64}`));
    const age = Math.abs(Date.now() / 1000 - Number(time));
    run.expectThat("Webhook-Timestamp", "≤ 300 s", `${Math.round(age)} s`, age <= 300);
  };

  window.conformance = {
    Broken, Run, Undecided, asFile, ended, expectSignature, forget, message, need, newPatient, patient, random, result, root,
    sample, secondPatient, send, submission, subscribed, text, unseen, webhook, written,
    keep: (name, answer) => { made[name] = answer; },
    begin: () => { made = {}; },
  };
})();
