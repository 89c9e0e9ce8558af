package authn

// Cookie reads one cookie as Django does.
func Cookie(header, name string) (value string, ok bool) { return "", false }
