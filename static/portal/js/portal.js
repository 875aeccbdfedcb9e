/* On every page: theme, menu, first error, single keys. Nothing here is needed to read or to sign. */
"use strict";

(() => {
  const root = document.documentElement;
  const KEYS = "single_keys";

  /* Preferences are cookies, so that the server knows them too. */
  const remember = (name, value) => {
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `${name}=${value}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
  };

  const isDark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : window.matchMedia("(prefers-color-scheme: dark)").matches;

  const switchTheme = () => {
    const theme = isDark() ? "light" : "dark";
    root.dataset.theme = theme;
    remember("theme", theme);
  };
  const themeForm = document.querySelector("[data-theme-switch]");
  if (themeForm) {
    themeForm.addEventListener("submit", (event) => {
      event.preventDefault();
      switchTheme();
    });
  }

  const menu = document.querySelector("[data-menu]");
  if (menu) {
    document.addEventListener("click", (event) => {
      if (!menu.contains(event.target)) menu.open = false;
    });
    menu.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        menu.open = false;
        menu.querySelector("summary").focus();
      }
    });
  }

  const errors = document.querySelector("[data-focus]");
  if (errors) errors.focus();

  const areKeysOn = () => !document.cookie.split("; ").includes(`${KEYS}=off`);
  const dialog = document.querySelector("[data-keys]");
  if (dialog) {
    const box = dialog.querySelector("[data-keys-switch]");
    box.checked = areKeysOn();
    box.addEventListener("change", () => remember(KEYS, box.checked ? "on" : "off"));
    document.querySelectorAll("[data-keys-open]").forEach((button) => {
      button.addEventListener("click", () => dialog.showModal());
    });
  }

  const actions = {
    "?": () => dialog && dialog.showModal(),
    d: switchTheme,
  };
  const isWriting = (target) =>
    target.closest("input:not([type=radio], [type=checkbox], [type=range]), textarea, select, [contenteditable]");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || !areKeysOn()) return;
    if (isWriting(event.target) || (dialog && dialog.open)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (actions[key]) {
      event.preventDefault();
      actions[key]();
      return;
    }
    document.dispatchEvent(new CustomEvent("portal:key", { detail: { key, event } }));
  });
})();
