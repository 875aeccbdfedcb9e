/* Many photographs at once: each becomes a card with its own eye, is sent on its own, and shows its own answer. */
"use strict";
(() => {
  const form = document.querySelector("[data-upload]");
  if (!form) return;
  const text = (name) => form.dataset[`text${name}`];
  const input = form.querySelector("input[type=file]");
  const list = form.querySelector("[data-uploads]");
  const template = document.getElementById("upload-card");
  const summary = form.querySelector("[data-summary]");
  const sendButton = form.querySelector("[data-send]");
  const dropzone = form.querySelector("[data-dropzone]");
  const maxBytes = Number(form.dataset.maxBytes);
  const cards = new Set();
  let serial = 0;

  input.multiple = true;
  input.removeAttribute("required");
  form.querySelectorAll(".no-js-only input").forEach((field) => {
    field.disabled = true;
  });

  /* "od", "right" or a lone "R" as a word of the file name; the reader always confirms. */
  const guessEye = (name) => {
    const words = name
      .replace(/\.[^.]*$/, "")
      .replace(/([a-z])([A-Z])/g, "$1 $2")
      .toLowerCase()
      .split(/[^a-z]+/);
    const has = (...names) => words.some((word) => names.includes(word));
    const right = has("od", "right", "r", "re");
    const left = has("os", "left", "l", "le");
    if (right === left) return null;
    return right ? "R" : "L";
  };

  /* Laterality (0020,0060) or Image Laterality (0020,0062) near the start of a DICOM file; only a suggestion too. */
  const dicomEye = async (file) => {
    const bytes = new Uint8Array(await file.slice(0, 65536).arrayBuffer());
    const is = (at, ...expected) => expected.every((value, index) => bytes[at + index] === value);
    if (!is(128, 0x44, 0x49, 0x43, 0x4d)) return null;
    for (let at = 132; at + 10 < bytes.length; at += 1) {
      if (!is(at, 0x20, 0x00, 0x60, 0x00) && !is(at, 0x20, 0x00, 0x62, 0x00)) continue;
      const isExplicit = is(at + 4, 0x43, 0x53, 0x02, 0x00);
      if (!isExplicit && !is(at + 4, 0x02, 0x00, 0x00, 0x00)) continue;
      const value = String.fromCharCode(bytes[at + 8]);
      if (value === "R" || value === "L") return value;
    }
    return null;
  };

  const waiting = () => [...cards].filter((card) => !card.isSent);
  const refresh = () => {
    sendButton.disabled = waiting().length === 0;
    if (cards.size) sendButton.querySelector("span").textContent = sendButton.dataset.label;
  };
  sendButton.dataset.label = sendButton.textContent.trim();

  const answer = (card, html) => {
    card.answer.innerHTML = html;
  };
  const refuse = (card, message) => {
    card.answer.replaceChildren();
    const notice = document.createElement("div");
    notice.className = "notice error";
    notice.setAttribute("role", "alert");
    notice.textContent = message;
    card.answer.append(notice);
  };

  const addCard = (file) => {
    serial += 1;
    const element = template.content.firstElementChild.cloneNode(true);
    const part = (name) => element.querySelector(`[data-${name}]`);
    const card = {
      element,
      file,
      isSent: false,
      key: newKey(),
      answer: part("answer"),
      progress: part("progress"),
      bar: element.querySelector("progress"),
      progressText: part("progress-text"),
      remove: part("remove"),
      radios: [...element.querySelectorAll("input[type=radio]")],
    };
    part("name").textContent = file.name;
    card.radios.forEach((radio) => {
      // Outside the big form's own fields: each card is sent by itself.
      radio.name = `eye-${serial}`;
      radio.setAttribute("form", "");
      radio.addEventListener("change", () => {
        element.classList.remove("is-missing");
        part("suggestion").hidden = true;
        if (!waiting().some((other) => !eyeOf(other))) summary.textContent = "";
      });
    });
    const preview = part("preview");
    if (/^image\/(jpeg|png)$/.test(file.type)) {
      card.url = URL.createObjectURL(file);
      preview.src = card.url;
      preview.addEventListener("error", () => preview.removeAttribute("src"), { once: true });
    }
    const suggest = (eye, sentence) => {
      if (!eye || eyeOf(card)) return;
      const suggestion = part("suggestion");
      suggestion.textContent = sentence;
      suggestion.hidden = false;
      card.radios.forEach((radio) => radio.closest(".choice").classList.toggle("suggested", radio.value === eye));
    };
    const named = guessEye(file.name);
    suggest(named, named === "R" ? text("SuggestR") : text("SuggestL"));
    // What the file says of itself stands before its name.
    dicomEye(file).then(
      (eye) => suggest(eye, eye === "R" ? text("DicomR") : text("DicomL")),
      () => {
        /* A file that cannot be read is refused when it is sent. */
      },
    );
    card.remove.addEventListener("click", () => drop(card));
    list.append(element);
    cards.add(card);
    if (file.size === 0) refuse(card, text("Empty"));
    if (file.size > maxBytes) refuse(card, text("TooLarge"));
    return card;
  };
  const drop = (card) => {
    cards.delete(card);
    card.element.remove();
    if (card.url) URL.revokeObjectURL(card.url);
    refresh();
    input.focus();
  };
  const eyeOf = (card) => card.radios.find((radio) => radio.checked)?.value;
  const newKey = () => {
    if (crypto.randomUUID) return crypto.randomUUID();
    // Plain http on another host has no randomUUID.
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20)}`;
  };
  const take = (files) => {
    const known = (file) =>
      [...cards].some(
        (card) =>
          card.file.name === file.name && card.file.size === file.size && card.file.lastModified === file.lastModified,
      );
    const chosen = [...files];
    const fresh = chosen.filter((file) => !known(file));
    fresh.forEach(addCard);
    summary.textContent = fresh.length < chosen.length ? text("ChosenTwice") : "";
    input.value = "";
    refresh();
  };

  input.addEventListener("change", () => take(input.files));
  ["dragenter", "dragover"].forEach((name) => {
    dropzone.addEventListener(name, (event) => {
      event.preventDefault();
      dropzone.classList.add("is-over");
    });
  });
  ["dragleave", "drop"].forEach((name) => dropzone.addEventListener(name, () => dropzone.classList.remove("is-over")));
  dropzone.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files);
  });

  const bodyOf = (card) => {
    const body = new FormData(form);
    body.delete("image");
    body.set("image", card.file, card.file.name);
    body.set("laterality", eyeOf(card));
    body.set("idempotency_key", card.key);
    if (card.answer.querySelector("[name=allow_duplicate]:checked")) body.set("allow_duplicate", "on");
    else body.delete("allow_duplicate");
    return body;
  };

  const send = (card) =>
    new Promise((resolve) => {
      const body = bodyOf(card);
      card.answer.replaceChildren();
      card.progress.hidden = false;
      card.remove.hidden = true;
      card.radios.forEach((radio) => {
        radio.disabled = true;
      });
      const request = new XMLHttpRequest();
      const finish = (isSent) => {
        card.isSent = isSent;
        card.progress.hidden = true;
        card.remove.hidden = isSent;
        card.radios.forEach((radio) => {
          radio.disabled = isSent;
        });
        resolve();
      };
      card.progressText.textContent = text("Sending");
      request.upload.addEventListener("progress", (event) => {
        card.bar.value = event.lengthComputable ? (100 * event.loaded) / event.total : 0;
      });
      request.upload.addEventListener("load", () => {
        card.progressText.textContent = text("Checking");
        card.bar.removeAttribute("value");
      });
      request.addEventListener("error", () => {
        refuse(card, text("Offline"));
        finish(false);
      });
      request.addEventListener("load", () => {
        if (request.getResponseHeader("HX-Redirect")) {
          refuse(card, text("SignedOut"));
          finish(false);
          return;
        }
        const isOurs = (request.getResponseHeader("Content-Type") || "").includes("html");
        const isPage = request.responseText.trimStart().startsWith("<!doctype");
        if (request.status === 201) {
          answer(card, request.responseText);
          window.htmx.process(card.answer);
        } else if (isOurs && !isPage) {
          answer(card, request.responseText);
        } else {
          refuse(card, text("Offline"));
        }
        finish(request.status === 201);
      });
      request.open("POST", form.action || location.href);
      request.setRequestHeader("HX-Request", "true");
      request.send(body);
    });

  form.addEventListener("submit", async (event) => {
    if (!cards.size) {
      // Nothing chosen: let the server say so, in its own words.
      return;
    }
    event.preventDefault();
    const missing = waiting().filter((card) => !eyeOf(card));
    missing.forEach((card) => card.element.classList.add("is-missing"));
    if (missing.length) {
      summary.textContent = text("EyeMissing");
      missing[0].radios[0].focus();
      return;
    }
    summary.textContent = "";
    sendButton.disabled = true;
    for (const card of waiting()) await send(card);
    refresh();
  });
  refresh();
})();
