/* The photograph: zoom, pan, layers, red-free. Overlays load when they are first asked for. */
"use strict";
(() => {
  const viewer = document.querySelector("[data-viewer]");
  if (!viewer) return;
  const stage = viewer.querySelector("[data-stage]");
  const layers = viewer.querySelector("[data-layers]");
  const output = viewer.querySelector("[data-zoom]");
  const MOST = 12;
  const view = { zoom: 1, x: 0, y: 0 };

  const draw = () => {
    const box = stage.getBoundingClientRect();
    const limit = (value, size) => Math.min(0, Math.max(size - size * view.zoom, value));
    view.x = limit(view.x, box.width);
    view.y = limit(view.y, box.height);
    layers.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.zoom})`;
    output.textContent = `${Math.round(view.zoom * 100)} %`;
  };
  const zoomAt = (factor, clientX, clientY) => {
    const box = stage.getBoundingClientRect();
    const x = (clientX ?? box.left + box.width / 2) - box.left;
    const y = (clientY ?? box.top + box.height / 2) - box.top;
    const zoom = Math.min(MOST, Math.max(1, view.zoom * factor));
    const ratio = zoom / view.zoom;
    view.x = x - (x - view.x) * ratio;
    view.y = y - (y - view.y) * ratio;
    view.zoom = zoom;
    draw();
  };
  const move = (x, y) => {
    view.x += x;
    view.y += y;
    draw();
  };
  const STEP = 80;
  const press = (name, isOn) => {
    const button = viewer.querySelector(`[data-do=${name}]`);
    button.setAttribute("aria-pressed", String(isOn));
  };
  const toggleLook = (name, className) => press(name, layers.classList.toggle(className));
  const commands = {
    in: () => zoomAt(1.3),
    out: () => zoomAt(1 / 1.3),
    fit: () => {
      Object.assign(view, { zoom: 1, x: 0, y: 0 });
      draw();
    },
    left: () => move(STEP, 0),
    right: () => move(-STEP, 0),
    up: () => move(0, STEP),
    down: () => move(0, -STEP),
    redfree: () => toggleLook("redfree", "red-free"),
    invert: () => toggleLook("invert", "invert"),
  };

  const layerOf = (name) => layers.querySelector(`[data-layer=${name}]`);
  const sliderOf = (name) => viewer.querySelector(`[data-opacity=${name}]`);
  const toggleLayer = (name) => {
    const layer = layerOf(name);
    if (!layer) return;
    if (!layer.src) layer.src = layer.dataset.src;
    layer.hidden = !layer.hidden;
    layer.style.opacity = sliderOf(name).value / 100;
    if (name === "heat") layers.classList.toggle("has-heat", !layer.hidden);
    viewer.querySelector(`[data-toggle-layer=${name}]`).setAttribute("aria-pressed", String(!layer.hidden));
  };

  viewer.querySelectorAll("[data-do]").forEach((button) => {
    button.addEventListener("click", () => commands[button.dataset.do]());
  });
  viewer.querySelectorAll("[data-toggle-layer]").forEach((button) => {
    button.addEventListener("click", () => toggleLayer(button.dataset.toggleLayer));
  });
  viewer.querySelectorAll("[data-opacity]").forEach((slider) => {
    slider.addEventListener("input", () => {
      const name = slider.dataset.opacity;
      if (layerOf(name).hidden) toggleLayer(name);
      layerOf(name).style.opacity = slider.value / 100;
    });
  });
  const brightness = viewer.querySelector("[data-brightness]");
  brightness.addEventListener("input", () => layers.style.setProperty("--brightness", brightness.value / 100));

  const keys = {
    "+": commands.in,
    "=": commands.in,
    "-": commands.out,
    "−": commands.out,
    0: commands.fit,
    g: commands.redfree,
    i: commands.invert,
    v: () => toggleLayer("vessels"),
    h: () => toggleLayer("heat"),
  };
  document.addEventListener("portal:key", ({ detail }) => {
    if (!keys[detail.key]) return;
    detail.event.preventDefault();
    keys[detail.key]();
  });
  const arrows = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down" };
  stage.addEventListener("keydown", (event) => {
    if (!arrows[event.key] || view.zoom === 1) return;
    event.preventDefault();
    commands[arrows[event.key]]();
  });
  stage.addEventListener(
    "wheel",
    (event) => {
      // A plain wheel scrolls the page as long as the whole photograph is shown.
      if (!event.ctrlKey && view.zoom === 1) return;
      event.preventDefault();
      zoomAt(Math.exp(-event.deltaY / 400), event.clientX, event.clientY);
    },
    { passive: false },
  );
  stage.addEventListener("dblclick", (event) => zoomAt(2, event.clientX, event.clientY));

  const pointers = new Map();
  const spread = () => {
    const [a, b] = [...pointers.values()];
    return { distance: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
  };
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  stage.addEventListener("pointermove", (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) return;
    const before = pointers.size === 2 ? spread() : null;
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (!before) {
      move(event.clientX - last.x, event.clientY - last.y);
      return;
    }
    const after = spread();
    if (before.distance > 0) zoomAt(after.distance / before.distance, after.x, after.y);
  });
  ["pointerup", "pointercancel"].forEach((name) => {
    stage.addEventListener(name, (event) => pointers.delete(event.pointerId));
  });

  const failed = viewer.querySelector("[data-error]");
  viewer.querySelectorAll("img").forEach((image) => {
    const show = () => {
      failed.hidden = false;
    };
    image.addEventListener("error", show);
    if (image.src && image.complete && image.naturalWidth === 0) show();
  });
  window.addEventListener("resize", draw);
})();
