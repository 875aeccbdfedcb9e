/* The examples of the conformance page, run against this portal with the reader's session. */
"use strict";
(() => {
  if (!window.conformance) return;
  const {
    Broken, Run, Undecided, asFile, begin, ended, expectSignature, forget, keep, message, need, newPatient, patient, random,
    result, root, sample, secondPatient, send, submission, subscribed, text, unseen, webhook, written,
  } = window.conformance;

  /* --- The checks --- */
  const checks = {
    "no-token": async (run) => {
      const answer = await run.request("GET", "patients/", { isAnonymous: true });
      run.expectProblem(answer, 401, "not_authenticated");
      const scheme = answer.headers.get("WWW-Authenticate") || "";
      run.expectThat("WWW-Authenticate", "Bearer …", scheme, scheme.startsWith("Bearer"));
    },
    "other-clinic": async (run) => {
      if ("seesAll" in root.dataset) throw new Undecided(text("AllClinics"));
      const theirs = await run.request("GET", `patients/${root.dataset.neighbour}/`);
      const unknown = await run.request("GET", `patients/${"0".repeat(8)}-0000-4000-8000-${random()}/`);
      run.expectProblem(theirs, 404, "not_found");
      run.expect("detail", unknown.body?.detail, theirs.body?.detail);
    },
    "patient-created": async (run) => {
      const sent = newPatient();
      const answer = await run.request("POST", "patients/", { json: sent });
      run.expect("status", 201, answer.status);
      run.expect("mrn", sent.mrn, answer.body.mrn);
      run.expectThat("id", "UUID", answer.body.id, /^[0-9a-f-]{36}$/.test(answer.body.id));
      if (answer.status === 201) keep("patient", answer);
    },
    "patient-duplicate": async (run) => {
      const { mrn } = (await patient(run)).body;
      run.expectProblem(await run.request("POST", "patients/", { json: { ...newPatient(), mrn } }), 409, "mrn_duplicate");
      const found = await run.request("GET", `patients/?mrn=${mrn}`);
      run.expect("results", 1, found.body.results.length);
    },
    "patient-invalid": async (run) => {
      const answer = await run.request("POST", "patients/", { json: { ...newPatient(), birth_date: "2999-01-01" } });
      run.expectProblem(answer, 400, "validation_error");
      run.expect("errors[0].pointer", "/birth_date", answer.body.errors?.[0]?.pointer);
    },
    "patient-stale": async (run) => {
      const address = `patients/${(await patient(run)).body.id}/`;
      const read = await run.request("GET", address);
      const headers = { "If-Match": read.headers.get("ETag") };
      const first = await run.request("PATCH", address, { json: { given_name: `Run ${random()}` }, headers });
      run.expect("status", 200, first.status);
      run.expectProblem(
        await run.request("PATCH", address, { json: { given_name: "Late" }, headers }), 412, "precondition_failed");
    },
    "patient-paging": async (run) => {
      await patient(run);
      await secondPatient(run);
      const first = await run.request("GET", "patients/?page_size=1");
      run.expect("status", 200, first.status);
      run.expect("results", 1, first.body.results.length);
      run.expectThat("next", "URL", first.body.next, Boolean(first.body.next));
      const second = await run.request("GET", first.body.next);
      run.expect("status", 200, second.status);
      const [one, other] = [first.body.results[0].id, second.body.results?.[0]?.id];
      run.expectThat("results[0].id", `≠ ${one}`, other, Boolean(other) && other !== one);
    },
    "webhook-subscribed": async (run) => {
      const answer = await subscribed(run);
      run.expect("status", 201, answer.status);
      const isSecret = /^whsec_[A-Za-z0-9+/=]{44}$/.test(answer.body.secret ?? "");
      run.expectThat("secret", "whsec_…", isSecret ? "whsec_…" : answer.body.code, isSecret);
      if (answer.status === 201) keep("webhook", answer);
      const read = await run.request("GET", `webhooks/${answer.body.id}/`);
      run.expect("secret, read again", undefined, read.body.secret);
    },
    "photograph-accepted": async (run) => {
      forget("submission", "result");
      const { answer, reference } = await submission(run);
      run.expect("status", 202, answer.status);
      run.expect("Location", answer.body.links.self, answer.headers.get("Location"));
      run.expect("Retry-After", "1", answer.headers.get("Retry-After"));
      run.expect("external_id", reference, answer.body.external_id);
      run.expect("outcome", null, answer.body.outcome);
    },
    "key-repeated": async (run) => {
      const first = await submission(run);
      const again = await send(run, first);
      run.expect("status", 202, again.status);
      run.expect("Idempotency-Replayed", "true", again.headers.get("Idempotency-Replayed"));
      run.expect("id", first.answer.body.id, again.body.id);
    },
    "key-reused": async (run) => {
      const first = await submission(run);
      run.expectProblem(await send(run, { ...first, laterality: "L" }), 422, "idempotency_key_reused");
    },
    "other-patient": async (run) => {
      const { file } = await submission(run);
      const to = (await secondPatient(run)).body.id;
      run.expectProblem(await send(run, { file, to }), 409, "image_of_another_patient");
    },
    "wrong-type": async (run) => {
      const file = asFile(await sample("text"), "no-picture.jpg", "image/jpeg");
      run.expectProblem(await send(run, { file, to: (await patient(run)).body.id }), 415, "file_type_unsupported");
    },
    truncated: async (run) => {
      const file = asFile(await sample("truncated"), "half-a-file.jpg");
      run.expectProblem(await send(run, { file, to: (await patient(run)).body.id }), 422, "image_truncated");
    },
    "dicom-mismatch": async (run) => {
      const file = asFile(await sample("dicom"), "right-eye.dcm");
      run.expectProblem(await send(run, { file, to: (await patient(run)).body.id }), 422, "dicom_patient_mismatch");
    },
    waited: async (run) => {
      const { status, body } = await result(run);
      run.expect("status of the answer", 200, status);
      run.expect("status", "succeeded", body.status);
      run.expectThat("outcome", "finding | indeterminate | ungradable", body.outcome,
        ["finding", "indeterminate", "ungradable"].includes(body.outcome));
      run.expect("prediction named", body.outcome === "finding", body.prediction !== null);
      if (body.probabilities) {
        const sum = Object.values(body.probabilities).reduce((total, each) => total + each, 0);
        run.expectThat("sum of probabilities", "1 ± 0.01", sum.toFixed(3), Math.abs(sum - 1) <= 0.01);
      }
      run.expect("report_status", "preliminary", body.report_status);
    },
    unchanged: async (run) => {
      const address = `diagnoses/${(await result(run)).body.id}/`;
      const etag = (await run.request("GET", address)).headers.get("ETag");
      const again = await run.request("GET", address, { headers: { "If-None-Match": etag } });
      run.expect("status", 304, again.status);
      run.expect("ETag", etag, again.headers.get("ETag"));
      run.expect("size", 0, again.size);
    },
    picture: async (run) => {
      const { id } = (await result(run)).body;
      const answer = await run.request("GET", `diagnoses/${id}/artifacts/vessel_map/`);
      run.expect("status", 200, answer.status);
      run.expect("Content-Type", "image/png", answer.headers.get("Content-Type"));
      const policy = answer.headers.get("Cache-Control") || "";
      run.expectThat("Cache-Control", "no-store, private", policy, policy.includes("no-store") && policy.includes("private"));
      run.expectThat("size", "> 0", answer.size, answer.size > 0);
    },
    "found-again": async (run) => {
      const { answer, reference } = await submission(run);
      const found = await run.request("GET", `diagnoses/?external_id=${reference}`);
      run.expect("status", 200, found.status);
      run.expect("ids", [answer.body.id], found.body.results.map((row) => row.id));
      run.expectProblem(await run.request("GET", "diagnoses/?status=ready"), 400, "validation_error");
    },
    ungradable: async (run) => {
      const file = await unseen("stranger", "not-a-fundus.jpg");
      const sent = await send(run, { file, to: (await patient(run)).body.id });
      run.expect("status", 202, sent.status);
      const { body } = await ended(run, need(sent, 202, "photograph").body.id);
      run.expect("outcome", "ungradable", body.outcome);
      run.expect("prediction", null, body.prediction);
      run.expectThat("quality.reasons", "≥ 1", body.quality?.reasons, (body.quality?.reasons ?? []).length > 0);
    },
    reviewed: async (run) => {
      const { id } = (await result(run)).body;
      const json = { verdict: "change", label: "Normal", reason: "An example of the conformance page." };
      const signed = await run.request("POST", `diagnoses/${id}/reviews/`, { json });
      run.expect("status", 201, signed.status);
      const { report_status: state } = (await run.request("GET", `diagnoses/${id}/`)).body;
      run.expectThat("report_status", "final | amended", state, ["final", "amended"].includes(state));
    },
    "webhook-ping": async (run) => {
      const { id } = (await webhook(run)).body;
      const pinged = await run.request("POST", `webhooks/${id}/ping/`);
      run.expect("status", 202, pinged.status);
      const received = await message(run, (each) => each.webhook === id && each.body.id === pinged.body.event.id);
      run.expect("type", "webhook.ping", received.body.type);
      run.expect("Webhook-Id", received.body.id, received.headers["Webhook-Id"]);
      await expectSignature(run, received);
    },
    "webhook-result": async (run) => {
      const { id } = (await webhook(run)).body;
      const { body } = await result(run);
      const received = await message(run, (each) =>
        each.webhook === id && each.body.data.diagnosis === body.id && each.body.type.startsWith("diagnosis."));
      const type = body.status === "failed" ? "failed" : body.outcome === "ungradable" ? "ungradable" : "succeeded";
      run.expect("type", `diagnosis.${type}`, received.body.type);
      run.expect("data.url", new URL(body.links.self).pathname, received.body.data.url);
      await expectSignature(run, received);
    },
    "webhook-removed": async (run) => {
      const { id } = (await webhook(run)).body;
      const removed = await run.request("DELETE", `webhooks/${id}/`);
      run.expect("status", 204, removed.status);
      run.expectProblem(await run.request("GET", `webhooks/${id}/`), 404, "not_found");
      // What comes later subscribes and sends anew.
      forget("webhook", "submission", "result");
    },
  };

  /* --- The page --- */
  const template = document.getElementById("check-outcome");
  const TONES = { passed: "tone-clear", failed: "tone-failed", waiting: "tone-suspect", running: "tone-waiting" };
  const named = (state) => text(state[0].toUpperCase() + state.slice(1));

  const mark = (article, state) => {
    const badge = article.querySelector("[data-verdict]");
    badge.hidden = false;
    badge.className = `badge ${TONES[state]}`;
    badge.textContent = named(state);
    article.classList.remove("is-passed", "is-failed", "is-waiting");
    article.classList.add(`is-${state}`);
  };
  const show = (article, run, reason) => {
    const outcome = article.querySelector("[data-outcome]");
    const filled = template.content.firstElementChild.cloneNode(true);
    const line = filled.querySelector("[data-reason]");
    line.hidden = !reason;
    line.textContent = reason;
    const rows = filled.querySelector("[data-expectations]");
    run.expectations.forEach(({ point, expected, actual, isMet }) => {
      const row = rows.insertRow();
      [point, written(expected), written(actual), named(isMet ? "passed" : "failed")].forEach((value, column) => {
        const cell = row.insertCell();
        cell.textContent = value;
        if (column === 3) cell.className = isMet ? "verdict-passed" : "verdict-failed";
        else cell.classList.add("mono");
      });
    });
    filled.querySelector(".tablescroll").hidden = run.expectations.length === 0;
    const exchanges = filled.querySelector("[data-exchanges]");
    run.exchanges.forEach((each) => {
      const holder = document.createElement("div");
      holder.className = "exchange";
      const block = document.createElement("pre");
      block.className = "shell";
      block.tabIndex = 0;
      block.textContent = each;
      holder.append(block);
      exchanges.append(holder);
    });
    outcome.replaceChildren(filled);
    outcome.hidden = false;
  };

  const execute = async (article) => {
    const run = new Run();
    mark(article, "running");
    let state, reason = "";
    try {
      await checks[article.dataset.check](run);
      state = run.isMet ? "passed" : "failed";
    } catch (error) {
      // A point that already failed stays failed, whatever could not be looked at after it.
      const isUndecided = error instanceof Undecided && run.expectations.every((each) => each.isMet);
      state = isUndecided ? "waiting" : "failed";
      reason = error instanceof Broken ? `${text("Broken")} ${error.message}` : error.message;
    }
    mark(article, state);
    show(article, run, reason);
    return state;
  };

  const articles = [...document.querySelectorAll("[data-check]")];
  const buttons = [...document.querySelectorAll("[data-run], [data-run-all]")];
  const summary = root.querySelector("[data-summary]");
  const progress = root.querySelector("[data-progress]");
  const fill = (pattern, values) => pattern.replace(/%(\w+)/g, (_, name) => values[name]);
  /* One run at a time: checks share what they made. */
  const alone = async (work) => {
    buttons.forEach((button) => { button.disabled = true; });
    try {
      await work();
    } finally {
      buttons.forEach((button) => { button.disabled = false; });
    }
  };

  articles.forEach((article) => {
    article.querySelector("[data-run]").addEventListener("click", () => alone(() => execute(article)));
  });
  root.querySelector("[data-run-all]").addEventListener("click", () => alone(async () => {
    begin();
    const count = { passed: 0, failed: 0, waiting: 0 };
    const total = articles.length;
    for (const [index, article] of articles.entries()) {
      progress.value = index;
      summary.textContent = fill(text("Progress"), { number: index + 1, total });
      count[await execute(article)] += 1;
    }
    progress.value = total;
    summary.textContent = fill(text("Summary"), { ...count, total });
    summary.dataset.ended = "";
  }));
})();
