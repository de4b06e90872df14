// What is wrong with drawings by matplotlib, one sentence each. A line counts where its clip lets it be seen.
(drawings) =>
  drawings.flatMap((svg) => {
    const found = [];
    const edge = svg.getBoundingClientRect();
    const scale = edge.width / svg.viewBox.baseVal.width;
    const say = (text) => text.textContent.trim();
    const texts = [...svg.querySelectorAll("text")].filter(say);
    const boxes = texts.map((text) => text.getBoundingClientRect());
    const meet = (a, b, dx, dy) =>
      a.left + dx < b.right - dx && b.left + dx < a.right - dx && a.top + dy < b.bottom - dy && b.top + dy < a.bottom - dy;

    for (const letters of svg.querySelectorAll("text, tspan")) {
      const size = parseFloat(getComputedStyle(letters).fontSize) * scale;
      if (say(letters) && size < 12) found.push(`${say(letters)} has ${size.toFixed(1)} pixels`);
    }

    boxes.forEach((box, i) => {
      const inside = edge.left - 1 <= box.left && box.right <= edge.right + 1;
      if (!inside || box.top < edge.top - 1 || box.bottom > edge.bottom + 1) found.push(`${say(texts[i])} is cut off`);
      for (let j = i + 1; j < boxes.length; j++) {
        if (meet(box, boxes[j], 0.5, 1.5)) found.push(`${say(texts[i])} lies over ${say(texts[j])}`);
      }
    });

    const struck = (path, box) => {
      const around = path.getBoundingClientRect(); // of a level line it has no height
      if (!meet(box, { left: around.left, right: around.right + 1, top: around.top, bottom: around.bottom + 1 }, 0, 0)) return false;
      const back = path.getScreenCTM().inverse();
      const name = (path.getAttribute("clip-path") || "").match(/url\((#.*)\)/);
      const clip = name ? svg.querySelector(`${name[1]} rect`).getBBox() : svg.viewBox.baseVal;
      for (let y = box.top + 3; y < box.bottom - 3; y += 0.5) {
        for (let x = box.left + 1; x < box.right - 1; x += 2) {
          const at = new DOMPoint(x, y).matrixTransform(back);
          const seen = clip.x <= at.x && at.x <= clip.x + clip.width && clip.y <= at.y && at.y <= clip.y + clip.height;
          if (seen && path.isPointInStroke(at)) return true;
        }
      }
      return false;
    };
    for (const path of svg.querySelectorAll("path")) {
      const { fill, stroke } = getComputedStyle(path);
      if (path.closest("defs, clipPath") || fill !== "none" || stroke === "none") continue;
      boxes.forEach((box, i) => struck(path, box) && found.push(`a line runs through ${say(texts[i])}`));
    }

    for (const axis of [".xtick", ".ytick"]) {
      if ([...svg.querySelectorAll(axis)].filter(say).length === 1) found.push("one tick alone on an axis");
    }
    return found;
  })
