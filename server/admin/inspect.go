package admin

import (
	"context"
	"io"
	"net/http"
	"net/url"
)

func (s *Server) groups(ctx context.Context, r *http.Request) (any, error) {
	if err := checkQuery(r); err != nil {
		return nil, err
	}
	return list("groups")(s.deps.Node.Groups(ctx))
}

func (s *Server) connections(ctx context.Context, r *http.Request) (any, error) {
	if err := checkQuery(r, "user"); err != nil {
		return nil, err
	}
	return list("connections")(s.deps.Node.Connections(ctx, r.URL.Query().Get("user")))
}

func (s *Server) nodes(ctx context.Context, r *http.Request) (any, error) {
	if err := checkQuery(r); err != nil {
		return nil, err
	}
	return list("nodes")(s.deps.Node.Nodes(ctx))
}

func (s *Server) info(ctx context.Context, r *http.Request) (any, error) {
	if err := checkQuery(r); err != nil {
		return nil, err
	}
	return s.deps.Node.Info(ctx)
}

// list puts a list under its name, so that fields can join it later.
func list(name string) func(any, error) (any, error) {
	return func(items any, err error) (any, error) {
		if err != nil {
			return nil, err
		}
		return map[string]any{name: items}, nil
	}
}

func unavailable(why string) endpoint {
	return func(*Server, context.Context, *http.Request) (any, error) {
		return nil, &Error{CodeUnavailable, why}
	}
}

func (s *Server) drain(_ context.Context, r *http.Request) (any, error) {
	if err := checkEmpty(r); err != nil {
		return nil, err
	}
	s.deps.Node.Drain()
	return []byte(`{"ok":true}` + "\n"), nil
}

func (s *Server) reload(ctx context.Context, r *http.Request) (any, error) {
	if err := checkEmpty(r); err != nil {
		return nil, err
	}
	if s.deps.Reload == nil {
		return nil, &Error{CodeUnavailable, "this node has no config file to read again"}
	}
	if err := s.deps.Reload(ctx); err != nil {
		return nil, badRequest("nothing was changed: %v", err)
	}
	return []byte(`{"ok":true}` + "\n"), nil
}

// checkEmpty accepts no body or an object without fields.
func checkEmpty(r *http.Request) error {
	body, err := readBody(r)
	if err != nil || len(body) == 0 {
		return err
	}
	if _, err := decodeObject(body); err != nil {
		return badRequest("this call takes no fields")
	}
	return nil
}

func checkQuery(r *http.Request, names ...string) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return badRequest("the query is malformed: %v", err)
	}
	for name, values := range query {
		known := false
		for _, n := range names {
			known = known || n == name
		}
		if !known {
			return badRequest("unknown parameter %q", name)
		}
		if len(values) > 1 {
			return badRequest("parameter %q is there twice", name)
		}
	}
	return nil
}

// healthz says that the process answers; only a hung process fails it.
func healthz(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok\n") }

// readyz says whether the node should get traffic.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := s.deps.Node.Ready(); err != nil {
		writeText(w, http.StatusServiceUnavailable, err.Error()+"\n")
		return
	}
	writeText(w, http.StatusOK, "ok\n")
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}
