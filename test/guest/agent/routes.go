package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"syscall"
)

const (
	contentPath = "/data/content"
	maxContent  = 8 << 20
)

// routes are the guest's whole interface; answers are plain text.
func routes() http.Handler {
	log := new(logger)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /content", getContent)
	mux.HandleFunc("PUT /content", answer(putContent))
	mux.HandleFunc("GET /hostname", answer(func(*http.Request) (string, error) { return os.Hostname() }))
	mux.HandleFunc("GET /boots", answer(func(*http.Request) (string, error) {
		boots, err := os.ReadFile("/boots")
		return string(boots), err
	}))
	mux.HandleFunc("GET /disks", answer(listDisks))
	mux.HandleFunc("/log/start", answer(log.start))
	mux.HandleFunc("/log/stop", answer(log.stop))
	mux.HandleFunc("GET /log/count", answer(log.count))
	mux.HandleFunc("GET /log/latency", answer(log.watch.latency))
	mux.HandleFunc("/fill", answer(fill))
	mux.HandleFunc("/freeze/delay", answer(delayFreeze))
	mux.HandleFunc("/poweroff", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		go powerOff() // answers first, if it can
	})
	mux.HandleFunc("/reboot", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		go reboot()
	})
	mux.HandleFunc("/sync", answer(func(*http.Request) (string, error) {
		syscall.Sync()
		return "ok", nil
	}))
	return mux
}

// answer turns a function into a handler: its text with 200, or its error with
// 500.
func answer(f func(*http.Request) (string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		text, err := f(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if len(text) == 0 || text[len(text)-1] != '\n' {
			text += "\n"
		}
		if _, err := io.WriteString(w, text); err != nil {
			fmt.Println("answer:", err)
		}
	}
}

// getContent answers byte for byte what was put.
func getContent(w http.ResponseWriter, _ *http.Request) {
	content, err := os.ReadFile(contentPath)
	if errors.Is(err, fs.ErrNotExist) {
		http.Error(w, "no content yet", http.StatusNotFound)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if _, err := w.Write(content); err != nil {
		fmt.Println("content:", err)
	}
}

// putContent replaces the content; it answers when the new one is durable.
func putContent(r *http.Request) (string, error) {
	content, err := io.ReadAll(io.LimitReader(r.Body, maxContent+1))
	if err != nil {
		return "", err
	}
	if len(content) > maxContent {
		return "", fmt.Errorf("content of more than %d bytes", maxContent)
	}
	if err := writeDurably(contentPath, content); err != nil {
		return "", err
	}
	return "ok", nil
}

func writeDurably(path string, content []byte) error {
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	directory, err := os.Open("/data")
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

// listDisks answers a line a disk: its name and its size in bytes.
func listDisks(*http.Request) (string, error) {
	entries, err := os.ReadDir("/sys/block")
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, e := range entries {
		sectors, err := os.ReadFile("/sys/block/" + e.Name() + "/size")
		if err != nil {
			return "", err
		}
		var n int64
		if _, err := fmt.Sscan(string(sectors), &n); err != nil {
			return "", err
		}
		fmt.Fprintf(&text, "/dev/%s %d\n", e.Name(), n*512)
	}
	return text.String(), nil
}
