package broker

// Doors for package broker_test, which may use brokertest.
var OpenWith = open
