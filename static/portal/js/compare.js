/* Two visits of one eye laid over each other: switched by hand, by itself, or blended. The server says how they lie. */
"use strict";
(() => {
  const tools = document.querySelector("[data-flicker]");
  if (!tools) return;
  const viewer = tools.closest("[data-viewer]");
  const part = (name) => tools.querySelector(`[data-flicker-${name}]`);
  const mode = part("mode");
  const auto = part("auto");
  const blend = part("blend");
  const rate = part("rate");
  const status = part("status");
  const [first, second] = ["first", "second"].map((place) => viewer.querySelector(`[data-place=${place}]`));
  const stage = second.querySelector("[data-stage]");
  const later = second.querySelector("[data-photo]");
  const earlier = first.querySelector("[data-photo]");
  const labels = [first, second].map((place) => place.querySelector(".stage-eye").textContent);
  const label = second.querySelector(".stage-eye");
  const stillness = window.matchMedia("(prefers-reduced-motion: reduce)");
  let matrix = null;
  let timer = null;

  const isOn = () => mode.getAttribute("aria-pressed") === "true";

  /* The earlier photograph at its own size, then onto the later one, then as that one is fitted into the stage. */
  const place = () => {
    if (!isOn()) return;
    const fit = Math.min(stage.clientWidth / later.naturalWidth, stage.clientHeight / later.naturalHeight);
    const left = (stage.clientWidth - fit * later.naturalWidth) / 2;
    const top = (stage.clientHeight - fit * later.naturalHeight) / 2;
    earlier.style.inlineSize = `${earlier.naturalWidth}px`;
    earlier.style.blockSize = `${earlier.naturalHeight}px`;
    earlier.style.transform = `translate(${left}px, ${top}px) scale(${fit}) matrix(${matrix.join(", ")})`;
  };
  const show = () => {
    const share = blend.value / 100;
    earlier.style.opacity = 1 - share;
    // Where the frames differ nothing of the later photograph stands around the earlier one.
    later.style.opacity = share === 0 ? 0 : 1;
    label.textContent = share === 0 ? labels[0] : share === 1 ? labels[1] : labels.join(" + ");
  };
  const swap = () => {
    blend.value = blend.value > 50 ? 0 : 100;
    show();
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    auto.setAttribute("aria-pressed", "false");
  };
  /* At most 2.5 switches a second are 1.25 flashes, below the three that can harm. */
  const start = () => {
    stop();
    timer = setInterval(swap, 10_000 / rate.value);
    auto.setAttribute("aria-pressed", "true");
  };

  const enter = () => {
    mode.setAttribute("aria-pressed", "true");
    viewer.classList.add("is-flicker");
    later.after(earlier);
    part("tools").hidden = false;
    window.dispatchEvent(new Event("resize"));
    place();
    blend.value = 100;
    show();
  };
  const leave = () => {
    stop();
    mode.setAttribute("aria-pressed", "false");
    viewer.classList.remove("is-flicker");
    first.querySelector("[data-layers]").prepend(earlier);
    earlier.removeAttribute("style");
    later.removeAttribute("style");
    label.textContent = labels[1];
    part("tools").hidden = true;
    window.dispatchEvent(new Event("resize"));
  };
  const fetchMatrix = async () => {
    status.textContent = tools.dataset.busy;
    mode.disabled = true;
    try {
      const answer = await fetch(tools.dataset.alignment, { headers: { Accept: "application/json" } });
      if (!answer.ok || answer.redirected) throw new Error("no alignment");
      const alignment = await answer.json();
      await Promise.all([earlier.decode(), later.decode()]);
      status.textContent = alignment.words;
      matrix = alignment.usable ? alignment.matrix : null;
      mode.disabled = !alignment.usable;
    } catch {
      status.textContent = tools.dataset.trouble;
      mode.disabled = false;
    }
  };
  const toggle = async () => {
    if (mode.disabled) return;
    if (isOn()) {
      leave();
      return;
    }
    if (!matrix) await fetchMatrix();
    if (matrix) enter();
  };

  mode.addEventListener("click", toggle);
  part("swap").addEventListener("click", () => {
    stop();
    swap();
  });
  auto.addEventListener("click", () => (timer ? stop() : start()));
  rate.addEventListener("input", () => timer && start());
  blend.addEventListener("input", () => {
    stop();
    show();
  });
  const respectStillness = () => {
    if (stillness.matches) stop();
    auto.disabled = rate.disabled = stillness.matches;
    part("still").hidden = !stillness.matches;
  };
  stillness.addEventListener("change", respectStillness);
  respectStillness();
  document.addEventListener("visibilitychange", () => document.hidden && stop());
  window.addEventListener("resize", place);
  document.addEventListener("portal:key", ({ detail }) => {
    if (detail.key === "f") toggle();
    else if (detail.key === "x" && isOn()) part("swap").click();
    else return;
    detail.event.preventDefault();
  });
})();
