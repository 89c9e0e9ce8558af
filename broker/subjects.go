package broker

// routeUser is the user name that routes log in with; the cluster token is its password.
const routeUser = "gatecast"

func checkServicePublish(ns, p string) error   { return nil }
func checkServiceSubscribe(ns, p string) error { return nil }
