package main

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"

	"github.com/gatecast/gatecast/server/config"
)

// logger is the process's log. Its level and format may change while it is used.
type logger struct {
	*slog.Logger
	level *slog.LevelVar
	json  *atomic.Bool
}

func newLogger(w io.Writer, o config.Log) *logger {
	l := &logger{level: &slog.LevelVar{}, json: &atomic.Bool{}}
	opts := &slog.HandlerOptions{Level: l.level}
	l.Logger = slog.New(&eitherHandler{
		text: slog.NewTextHandler(w, opts), json: slog.NewJSONHandler(w, opts), useJSON: l.json,
	})
	l.apply(o)
	return l
}

// apply takes over the section [log], which was validated.
func (l *logger) apply(o config.Log) {
	level, err := o.SlogLevel()
	if err != nil {
		return
	}
	l.level.Set(level)
	l.json.Store(o.Format == "json")
}

// eitherHandler writes text or JSON, as the format says when a record comes. Both handlers carry the same attributes.
type eitherHandler struct {
	text, json slog.Handler
	useJSON    *atomic.Bool
}

func (h *eitherHandler) now() slog.Handler {
	if h.useJSON.Load() {
		return h.json
	}
	return h.text
}

func (h *eitherHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.now().Enabled(ctx, level)
}

func (h *eitherHandler) Handle(ctx context.Context, r slog.Record) error {
	return h.now().Handle(ctx, r)
}

func (h *eitherHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &eitherHandler{h.text.WithAttrs(attrs), h.json.WithAttrs(attrs), h.useJSON}
}

func (h *eitherHandler) WithGroup(name string) slog.Handler {
	return &eitherHandler{h.text.WithGroup(name), h.json.WithGroup(name), h.useJSON}
}
