// What the widgets of the static page leave out for people who do not use a mouse or do not see the page.
"use strict";

// The theme's icon script would replace elements inside widgets; it only needs to do so for the theme's own icons.
window.FontAwesomeConfig = { autoReplaceSvg: false, observeMutations: false };

const beside = document.currentScript.src;

// The live lab is fetched by pages that hold one, and by no others.
function bringLiveLab() {
  const places = document.querySelectorAll(".gradclinic-live");
  if (!places.length) return;
  const style = document.createElement("link");
  style.rel = "stylesheet";
  style.href = new URL("offline/live.css", beside);
  const script = document.createElement("script");
  script.src = new URL("offline/live.js", beside);
  script.onload = () => places.forEach((place) => gradclinicLive.place(place));
  document.head.append(style, script);
}

function nameSlider(slider) {
  const handle = slider.querySelector(".noUi-handle");
  const label = slider.querySelector(".widget-label");
  const readout = slider.querySelector(".widget-readout");
  if (!handle || !readout) return;
  handle.setAttribute("aria-label", label ? label.textContent.trim() : "value");
  handle.setAttribute("aria-valuetext", readout.textContent.trim());
}

function nameButtons(group) {
  const label = group.querySelector(".widget-label");
  group.setAttribute("role", "group");
  if (label) group.setAttribute("aria-label", label.textContent.trim());
  for (const button of group.querySelectorAll("button")) {
    const pressed = String(button.classList.contains("mod-active"));
    if (button.getAttribute("aria-pressed") !== pressed) button.setAttribute("aria-pressed", pressed);
  }
}

function nameAll() {
  document.querySelectorAll(".widget-hslider").forEach(nameSlider);
  document.querySelectorAll(".widget-toggle-buttons").forEach(nameButtons);
}

// Roles and names that the theme gives and its own content contradicts.
function correctTheme() {
  document.querySelectorAll("summary[aria-label]").forEach((summary) => summary.removeAttribute("aria-label"));
  document.querySelectorAll(".citation-list[role]").forEach((list) => list.removeAttribute("role"));
}

document.addEventListener("DOMContentLoaded", () => {
  correctTheme();
  bringLiveLab();
  let planned = false;
  const plan = () => {
    if (planned) return;
    planned = true;
    requestAnimationFrame(() => {
      planned = false;
      nameAll();
    });
  };
  new MutationObserver(plan).observe(document.body, {
    attributeFilter: ["class"],
    characterData: true,
    childList: true,
    subtree: true,
  });
  plan();
});
