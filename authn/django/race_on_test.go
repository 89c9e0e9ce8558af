//go:build race

package django

const raceEnabled = true
