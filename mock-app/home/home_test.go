package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestTheHomePageIsAtHome(t *testing.T) {
	for path, want := range map[string]int{"/home": 200, "/home/": 200, "/status": 200, "/": 404, "/homes": 404} {
		answer := httptest.NewRecorder()
		home(answer, httptest.NewRequest(http.MethodGet, path, nil))
		if answer.Code != want {
			t.Errorf("%s answered %d, want %d", path, answer.Code, want)
		}
	}
}
