// What the theme leaves out or gets wrong, and what only some pages need.
"use strict";

const beside = document.currentScript.src;

// What few pages hold is fetched by those alone.
function bring(selector, file, start) {
  const places = document.querySelectorAll(selector);
  if (!places.length) return;
  const script = document.createElement("script");
  script.src = new URL(`offline/${file}.js`, beside);
  script.onload = () => places.forEach(start);
  document.head.append(script);
}

function bringStyle(selector, file) {
  if (!document.querySelector(selector)) return;
  const style = document.createElement("link");
  style.rel = "stylesheet";
  style.href = new URL(`offline/${file}.css`, beside);
  document.head.append(style);
}

// Roles and names that the theme gives and its own content contradicts.
function correctTheme() {
  document.querySelectorAll("summary[aria-label]").forEach((summary) => summary.removeAttribute("aria-label"));
  document.querySelectorAll(".citation-list[role]").forEach((list) => list.removeAttribute("role"));
}

// The list of pages is longer than the window: begin where the reader is.
function scrollSidebar() {
  const sidebar = document.querySelector(".bd-sidebar-primary");
  const current = sidebar && sidebar.querySelector("a.current");
  if (!current) return;
  const below = current.getBoundingClientRect().top - sidebar.getBoundingClientRect().top;
  sidebar.scrollTop += below - sidebar.clientHeight / 3;
}

document.addEventListener("DOMContentLoaded", () => {
  correctTheme();
  scrollSidebar();
  bringStyle(".gradclinic-live", "live");
  bring(".gradclinic-live, .gradclinic-layer", "live", (place) =>
    (place.matches(".gradclinic-layer") ? gradclinicLive.layer() : gradclinicLive).place(place),
  );
  bring(".gradclinic-patients", "patients", (place) => gradclinicPatients(gradclinicPatients.runs, place));
});
