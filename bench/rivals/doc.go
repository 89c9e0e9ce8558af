// Package rivals holds the files that the servers we compare with run from: Django projects, configurations. They are embedded,
// so that the harness is one binary that works anywhere; package target writes them into a directory of its own at each start.
//
// What has to be installed beside them is brought by the script install; README.md says what each rival runs with, and why.
package rivals
