package admin

import (
	"context"
	"net/http"
	"slices"
	"strings"
)

const apiPrefix = "/api/v1/"

// endpoint answers one API call with JSON. A []byte answer is JSON already; anything else is encoded.
type endpoint func(s *Server, ctx context.Context, r *http.Request) (answer any, err error)

// apiRoutes is the whole API: path below /api/v1/, method, role, what it does. server/docs and the tests are checked against it.
var apiRoutes = map[string]struct {
	method string
	role   role
	serve  endpoint
}{
	"group_send":    {http.MethodPost, rolePublish, (*Server).groupSend},
	"group_add":     {http.MethodPost, roleAdmin, call("group_add")},
	"group_discard": {http.MethodPost, roleAdmin, call("group_discard")},
	"disconnect":    {http.MethodPost, roleAdmin, call("disconnect")},
	"revalidate":    {http.MethodPost, roleAdmin, call("revalidate")},
	"drain":         {http.MethodPost, roleAdmin, (*Server).drain},
	"reload":        {http.MethodPost, roleAdmin, (*Server).reload},
	"explain":       {http.MethodPost, roleRead, (*Server).explain},
	"groups":        {http.MethodGet, roleRead, (*Server).groups},
	"connections":   {http.MethodGet, roleRead, (*Server).connections},
	"nodes":         {http.MethodGet, roleRead, (*Server).nodes},
	"info":          {http.MethodGet, roleRead, (*Server).info},
	"presence":      {http.MethodGet, roleRead, unavailable("presence is not kept by this version")},
	"history":       {http.MethodGet, roleRead, unavailable("history is not kept by this version")},
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")

	if name, ok := strings.CutPrefix(r.URL.Path, apiPrefix); ok {
		s.serveAPI(w, r, name)
		return
	}
	var serve http.HandlerFunc
	switch r.URL.Path {
	case "/healthz":
		serve = healthz
	case "/readyz":
		serve = s.readyz
	case "/metrics":
		serve = s.metrics.ServeHTTP
	case "/":
		serve = servePage
	default:
		s.writeError(w, r, &Error{CodeNotFound, "no such path; the API is below " + apiPrefix})
		return
	}
	if !s.checkMethod(w, r, http.MethodGet) {
		return
	}
	serve(w, r)
}

func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request, name string) {
	route, ok := apiRoutes[name]
	if !ok {
		s.writeError(w, r, &Error{CodeNotFound, "no such call; there are " + strings.Join(apiNames(), ", ")})
		return
	}
	if !s.checkMethod(w, r, route.method) {
		return
	}
	if err := checkSite(r); err != nil {
		s.writeError(w, r, err)
		return
	}
	key, err := s.authorize(r, route.role)
	if err != nil {
		s.log.Info("admin request refused", "call", name, "remote", r.RemoteAddr, "reason", err)
		s.writeError(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	if s.body > 0 {
		r.Body = http.MaxBytesReader(w, r.Body, s.body)
	}
	answer, err := route.serve(s, ctx, r)
	if err != nil {
		s.writeError(w, r, err)
		return
	}
	if route.role == roleAdmin {
		s.log.Info("admin request", "call", name, "key", key, "remote", r.RemoteAddr)
	}
	if body, ok := answer.([]byte); ok {
		writeBody(w, http.StatusOK, body)
		return
	}
	if err := writeJSON(w, http.StatusOK, answer); err != nil {
		s.writeError(w, r, err)
	}
}

// checkMethod answers 405 unless the request's method is want, or HEAD where GET is wanted.
func (s *Server) checkMethod(w http.ResponseWriter, r *http.Request, want string) bool {
	if r.Method == want || want == http.MethodGet && r.Method == http.MethodHead {
		return true
	}
	allow := want
	if want == http.MethodGet {
		allow += ", " + http.MethodHead
	}
	w.Header().Set("Allow", allow)
	s.writeError(w, r, &Error{CodeMethodNotAllowed, "use " + allow})
	return false
}

func apiNames() []string {
	names := make([]string, 0, len(apiRoutes))
	for name := range apiRoutes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
