/* Photographs: zoom, pan, layers, red-free. All stages of a viewer move together. Overlays load when first asked for. */
"use strict";
(() => {
  const viewer = document.querySelector("[data-viewer]");
  if (!viewer) return;
  const stages = [...viewer.querySelectorAll("[data-stage]")];
  const layersOf = (stage) => stage.querySelector("[data-layers]");
  const output = viewer.querySelector("[data-zoom]");
  const MOST = 12;
  /* The shift in shares of a stage, so that stages of any size show the same place. */
  const view = { zoom: 1, x: 0, y: 0 };

  const draw = () => {
    const limit = (shift) => Math.min(0, Math.max(1 - view.zoom, shift));
    view.x = limit(view.x);
    view.y = limit(view.y);
    stages.forEach((stage) => {
      const { clientWidth: width, clientHeight: height } = stage;
      const shift = `${view.x * width}px, ${view.y * height}px`;
      layersOf(stage).style.transform = `translate(${shift}) scale(${view.zoom})`;
      stage.classList.toggle("is-zoomed", view.zoom > 1);
    });
    output.textContent = `${Math.round(view.zoom * 100)} %`;
  };
  /* Where a pointer stands, in shares of its stage. */
  const placeOf = (stage, point) => {
    const box = stage.getBoundingClientRect();
    return {
      x: (point.clientX - box.left - stage.clientLeft) / stage.clientWidth,
      y: (point.clientY - box.top - stage.clientTop) / stage.clientHeight,
    };
  };
  const zoomAt = (factor, place = { x: 0.5, y: 0.5 }) => {
    const zoom = Math.min(MOST, Math.max(1, view.zoom * factor));
    const ratio = zoom / view.zoom;
    view.x = place.x - (place.x - view.x) * ratio;
    view.y = place.y - (place.y - view.y) * ratio;
    view.zoom = zoom;
    draw();
  };
  const move = (x, y) => {
    view.x += x;
    view.y += y;
    draw();
  };
  const STEP = 0.12;
  const press = (name, isOn) => {
    viewer.querySelector(`[data-do=${name}]`).setAttribute("aria-pressed", String(isOn));
  };
  const looks = new Set();
  const toggleLook = (name, className) => {
    const isOn = !looks.has(name);
    if (isOn) looks.add(name);
    else looks.delete(name);
    stages.forEach((stage) => layersOf(stage).classList.toggle(className, isOn));
    press(name, isOn);
  };
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

  const pictures = (name) => [...viewer.querySelectorAll(`[data-layer=${name}]`)];
  const toggleLayer = (name) => {
    const button = viewer.querySelector(`[data-toggle-layer=${name}]`);
    if (!button) return;
    const isOn = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(isOn));
    pictures(name).forEach((picture) => {
      if (!picture.src) picture.src = picture.dataset.src;
      picture.hidden = !isOn;
    });
    fade(name);
  };
  const fade = (name) => {
    const { value } = viewer.querySelector(`[data-opacity=${name}]`);
    pictures(name).forEach((picture) => {
      picture.style.opacity = value / 100;
    });
  };

  viewer.querySelectorAll("[data-do]").forEach((button) => {
    button.addEventListener("click", () => commands[button.dataset.do]());
  });
  viewer.querySelectorAll("[data-toggle-layer]").forEach((button) => {
    button.addEventListener("click", () => toggleLayer(button.dataset.toggleLayer));
  });
  viewer.querySelectorAll("[data-opacity]").forEach((slider) => {
    const name = slider.dataset.opacity;
    slider.addEventListener("input", () => {
      const button = viewer.querySelector(`[data-toggle-layer=${name}]`);
      if (button.getAttribute("aria-pressed") === "true") fade(name);
      else toggleLayer(name);
    });
  });
  const brightness = viewer.querySelector("[data-brightness]");
  brightness.addEventListener("input", () => viewer.style.setProperty("--brightness", brightness.value / 100));

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
    // Escape in the menu closes the menu.
    const isLink = /^[a-zA-Z]+$/.test(detail.key) && !detail.event.target.closest("[data-menu]");
    const link = isLink && document.querySelector(`a[data-key="${detail.key}"]`);
    if (!keys[detail.key] && !link) return;
    detail.event.preventDefault();
    if (link) link.click();
    else keys[detail.key]();
  });
  const arrows = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down" };

  const listen = (stage) => {
    stage.addEventListener("keydown", (event) => {
      if (!arrows[event.key] || view.zoom === 1) return;
      event.preventDefault();
      commands[arrows[event.key]]();
    });
    stage.addEventListener(
      "wheel",
      (event) => {
        // As long as the whole photograph is shown and was not chosen by a click or a key, a wheel scrolls the page.
        const isChosen = event.ctrlKey || view.zoom > 1 || document.activeElement === stage;
        if (!isChosen || (view.zoom === 1 && event.deltaY > 0 && !event.ctrlKey)) return;
        event.preventDefault();
        zoomAt(Math.exp(-event.deltaY / 400), placeOf(stage, event));
      },
      { passive: false },
    );
    stage.addEventListener("dblclick", (event) => zoomAt(2, placeOf(stage, event)));

    const pointers = new Map();
    const spread = () => {
      const [a, b] = [...pointers.values()];
      const middle = { clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 };
      return { distance: Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY), middle };
    };
    const pointOf = ({ clientX, clientY }) => ({ clientX, clientY });
    const drag = (from, to) => {
      const [a, b] = [placeOf(stage, from), placeOf(stage, to)];
      move(b.x - a.x, b.y - a.y);
    };
    stage.addEventListener("pointerdown", (event) => {
      stage.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, pointOf(event));
    });
    stage.addEventListener("pointermove", (event) => {
      const last = pointers.get(event.pointerId);
      if (!last) return;
      const before = pointers.size === 2 ? spread() : null;
      pointers.set(event.pointerId, pointOf(event));
      if (!before) {
        drag(last, event);
        return;
      }
      const after = spread();
      drag(before.middle, after.middle);
      if (before.distance > 0) zoomAt(after.distance / before.distance, placeOf(stage, after.middle));
    });
    ["pointerup", "pointercancel"].forEach((name) => {
      stage.addEventListener(name, (event) => pointers.delete(event.pointerId));
    });
  };
  stages.forEach(listen);

  viewer.querySelectorAll("img").forEach((image) => {
    const failed = (image.closest("[data-stage]") ?? stages[0]).querySelector("[data-error]");
    const show = () => {
      failed.hidden = false;
    };
    image.addEventListener("error", show);
    if (image.src && image.complete && image.naturalWidth === 0) show();
  });
  window.addEventListener("resize", draw);
})();
