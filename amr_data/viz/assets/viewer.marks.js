"use strict";
// Rows of labelled intervals above the scrubber: faults, or the actions of a recording; a click goes to where one begins.
function makeMarks(view, holder, scrub) {
  let marks = [];

  function lanes(intervals) { // those that overlap lie below each other
    const ends = [];
    return intervals.map((interval) => {
      let lane = ends.findIndex((end) => end <= interval.first);
      if (lane < 0) lane = ends.length;
      ends[lane] = interval.end;
      return lane;
    });
  }

  function show(tracks, frames) {
    const palette = view.colours().labels, order = [];
    marks = [];
    holder.hidden = !tracks.length;
    holder.replaceChildren(...tracks.map((track) => {
      const row = document.createElement("div"), name = document.createElement("span"), line = document.createElement("div");
      row.className = "track";
      name.textContent = name.title = track.name;
      line.className = "line";
      const intervals = [...track.intervals].sort((a, b) => a.first - b.first || a.end - b.end), lane = lanes(intervals);
      line.style.height = `${Math.max(1, ...lane.map((n) => n + 1)) * 17}px`;
      intervals.forEach((interval, i) => {
        if (!track.alarm && !order.includes(interval.label)) order.push(interval.label);
        const colour = track.alarm ? view.colours().alarm : palette[order.indexOf(interval.label) % palette.length];
        const button = document.createElement("button");
        button.className = "mark";
        button.tabIndex = -1; // n and p go through them
        button.textContent = (interval.end - interval.first) / frames > 0.04 ? interval.label : "";
        const last = Math.min(interval.end, frames) - 1;
        const said = last > interval.first ? `frames ${interval.first} to ${last}` : `frame ${interval.first}`;
        button.title = [interval.label, said, interval.note].filter(Boolean).join(" · ");
        button.setAttribute("aria-label", button.title);
        button.dataset.first = interval.first;
        button.style.cssText = `--mark: ${colour}; left: ${(100 * interval.first) / frames}%; width: ${(100 * (last + 1 - interval.first)) / frames}%; top: ${lane[i] * 17}px`;
        button.addEventListener("click", () => { view.pause(); view.seek(interval.first); });
        line.append(button);
        marks.push({ first: interval.first, end: last + 1, colour, alarm: track.alarm, button });
      });
      row.append(name, line);
      return row;
    }));
    scrub.replaceChildren(...marks.map(({ first, colour }) => {
      const tick = document.createElement("i");
      tick.style.cssText = `left: ${(100 * (first + 0.5)) / frames}%; background: ${colour}`;
      return tick;
    }));
  }

  function now(t) { // those that run at this frame
    for (const { first, end, button } of marks) button.setAttribute("aria-current", String(first <= t && t < end));
  }

  // Where the next or the previous one begins; nothing beyond the last.
  function step(direction, t) {
    const places = [...new Set(marks.map((mark) => mark.first))].sort((a, b) => a - b);
    return direction > 0 ? places.find((place) => place > t) : places.reverse().find((place) => place < t);
  }

  return { show, now, step, all: () => marks };
}
