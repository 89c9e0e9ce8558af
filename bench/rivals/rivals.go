package rivals

import "embed"

// Channels is the Django project that daphne and uvicorn serve, in the directory channels.
//
//go:embed channels/gatechannels/*.py
var Channels embed.FS

// Nchan is the template of nginx' configuration.
//
//go:embed nchan/nginx.conf
var Nchan string
