//go:build linux

package html

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shotsTo is the environment variable with a directory that keeps the pages and their pictures.
const shotsTo = "GATECAST_REPORT_SHOTS"

// TestReportInChromium looks at reports as a reader does: in both themes, on a desktop and on a phone.
func TestReportInChromium(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	b := openBrowser(t)
	dir := t.TempDir()
	if keep := os.Getenv(shotsTo); keep != "" {
		dir = keep
	}
	for name, d := range samples() {
		path := filepath.Join(dir, name+".html")
		if err := os.WriteFile(path, []byte(write(t, d)), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, width := range []int{1280, 400} {
			backgrounds := make(map[string]string)
			for _, theme := range []string{"light", "dark"} {
				t.Run(fmt.Sprintf("%s in %s at %d px", name, theme, width), func(t *testing.T) {
					b.t = t
					defer func() { b.t = b.parent }()
					b.open("file://"+path, theme, width)
					b.eval(`document.querySelectorAll("details").forEach(d => d.open = true), 0`, new(int))
					onlyTheFile(t, b, path)
					var found struct {
						Background                string
						Overflow                  int
						Overlaps, Faint, Unmapped []string
					}
					b.eval(lookAround, &found)
					backgrounds[theme] = found.Background
					if found.Overflow > 0 {
						t.Errorf("the page is %d px wider than the window", found.Overflow)
					}
					report(t, "texts that overlap", found.Overlaps)
					report(t, "texts of little contrast", found.Faint)
					report(t, "texts outside their drawing", found.Unmapped)
					if os.Getenv(shotsTo) != "" {
						b.shoot(filepath.Join(dir, fmt.Sprintf("%s-%s-%d.png", name, theme, width)))
					}
				})
			}
			if backgrounds["light"] == backgrounds["dark"] {
				t.Errorf("%s: light and dark have the same background %s", name, backgrounds["light"])
			}
		}
		if os.Getenv(shotsTo) != "" {
			b.print(filepath.Join(dir, name+".pdf"))
		}
	}
}

func report(t *testing.T, what string, found []string) {
	t.Helper()
	const most = 10
	if n := len(found); n > 0 {
		t.Errorf("%s, %d:\n  %s", what, n, strings.Join(found[:min(n, most)], "\n  "))
	}
}

// onlyTheFile fails the test if the page asked for anything else, or complained.
func onlyTheFile(t *testing.T, b *browser, path string) {
	t.Helper()
	for _, raw := range b.seen("Network.requestWillBeSent") {
		var e struct{ Request struct{ URL string } }
		if err := json.Unmarshal(raw, &e); err != nil || e.Request.URL != "file://"+path {
			t.Errorf("request to %s %v", e.Request.URL, err)
		}
	}
	for _, method := range []string{"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"} {
		for _, raw := range b.seen(method) {
			t.Errorf("%s: %s", method, raw)
		}
	}
}

// lookAround measures the page: what overlaps, what cannot be read.
const lookAround = `(() => {
  const found = {background: getComputedStyle(document.body).backgroundColor, overlaps: [], faint: [], unmapped: [],
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth};
  for (const svg of document.querySelectorAll("svg.chart")) {
    const frame = svg.getBoundingClientRect(), boxes = [];
    for (const text of svg.querySelectorAll("text")) {
      const r = text.getBoundingClientRect();
      if (r.width === 0) continue;
      const name = text.textContent;
      if (r.left < frame.left - 1 || r.right > frame.right + 1 || r.top < frame.top - 1 || r.bottom > frame.bottom + 1)
        found.unmapped.push(svg.getAttribute("aria-label") + ": " + name);
      // Half of the line's height is empty above and below digits: the letters themselves are what may not meet.
      const slack = r.height * 0.15;
      boxes.push({name, left: r.left, right: r.right, top: r.top + slack, bottom: r.bottom - slack});
    }
    boxes.forEach((a, i) => boxes.slice(i + 1).forEach(b => {
      if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)
        found.overlaps.push(svg.getAttribute("aria-label") + ": " + a.name + " / " + b.name);
    }));
  }
  for (const line of document.querySelectorAll(".bars")) {
    const boxes = [...line.children].map(e => ({e, r: e.getBoundingClientRect()}));
    for (let i = 0; i + 1 < boxes.length; i++) {
      const a = boxes[i].r, b = boxes[i + 1].r;
      const name = boxes[i].e.textContent;
      if (a.top < b.bottom && b.top < a.bottom && a.left < b.left && a.right > b.left + 1)
        found.overlaps.push("bars: " + name + " / " + boxes[i + 1].e.textContent);
      if (boxes[i].e.scrollWidth > boxes[i].e.clientWidth + 1) found.overlaps.push("bars: " + name + " is cut");
    }
  }
  const channels = c => c.match(/[\d.]+/g).map(Number);
  const luminance = c => channels(c).slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor, v = channels(c);
      if (v.length < 4 || v[3] > 0) return c;
    }
    return "rgb(255, 255, 255)";
  };
  const seen = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; node = walker.nextNode();) {
    const e = node.parentElement;
    if (!node.textContent.trim() || e.getBoundingClientRect().width === 0) continue;
    const style = getComputedStyle(e), ink = e.closest("svg.chart") ? style.fill : style.color, paper = behind(e);
    const pair = ink + " on " + paper;
    if (seen.has(pair)) continue;
    seen.add(pair);
    const [a, b] = [luminance(ink), luminance(paper)].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) found.faint.push(contrast.toFixed(2) + " " + pair + ": " + node.textContent.trim().slice(0, 40));
  }
  return found;
})()`
