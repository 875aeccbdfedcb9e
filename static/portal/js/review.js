/* Reading: which fields belong to the verdict, and its keys. Nothing here is needed to grade, to draft or to sign. */
"use strict";
(() => {
  const form = document.querySelector("[data-reading]");
  if (!form) return;
  const named = (name) => [...form.querySelectorAll(`[name=${name}]`)];
  const chosen = () => named("verdict").find((radio) => radio.checked)?.value;

  const parts = [...form.querySelectorAll("[data-for]")];
  const refresh = () => {
    parts.forEach((part) => {
      part.hidden = !part.dataset.for.split(" ").includes(chosen());
    });
  };
  form.addEventListener("change", refresh);
  refresh();

  /* Only a button that has the focus signs: Enter in a field must not. */
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches("input")) event.preventDefault();
  });

  const tick = (radio) => {
    if (!radio) return;
    radio.checked = true;
    radio.focus();
    radio.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const verdict = (value) => tick(named("verdict").find((radio) => radio.value === value));
  const grade = (value) => tick(named("grade").find((radio) => radio.value === value));
  const classAt = (number) => {
    if (named("grade").length) {
      tick(named("grade")[number - 1]);
      return;
    }
    verdict("change");
    const [label] = named("label");
    label.selectedIndex = number;
    label.dispatchEvent(new Event("change", { bubbles: true }));
    named("reason")[0].focus();
  };
  const keys = {
    a: () => verdict("agree"),
    c: () => verdict("change"),
    u: () => {
      grade("ungradable");
      verdict("ungradable");
    },
    t: () => named("note")[0].focus(),
    1: () => classAt(1),
    2: () => classAt(2),
    3: () => classAt(3),
    4: () => classAt(4),
  };
  document.addEventListener("portal:key", ({ detail }) => {
    if (!keys[detail.key]) return;
    detail.event.preventDefault();
    keys[detail.key]();
  });
})();
