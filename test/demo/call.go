package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// answer is what the demo reads of the API's answers.
type answer struct {
	Operation struct{ JobID string }
}

type job struct {
	Status          string
	ProgressDetails struct {
		Percentage     int
		Message        string
		Current, Total int64
	}
	Error  json.RawMessage
	Result struct {
		BackupID string
		VPSID    string
	}
}

// call makes an API call that queues an operation.
func (d *demo) call(ctx context.Context, method, path string, body any) (answer, error) {
	text, err := d.shown(ctx, method, path, body)
	if err != nil {
		return answer{}, err
	}
	var a answer
	return a, json.Unmarshal(text, &a)
}

// get reads a resource.
func (d *demo) get(ctx context.Context, path string, v any) error {
	text, err := d.shown(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// shown makes an API call and prints it as curl with its answer.
func (d *demo) shown(ctx context.Context, method, path string, body any) ([]byte, error) {
	var b []byte
	line := "curl -X " + method + " \"$HOLDFAST_URL" + path + "\" -H \"Authorization: Bearer $HOLDFAST_API_KEY\""
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			return nil, err
		}
		line += " -H \"Content-Type: application/json\" -d '" + string(b) + "'"
	}
	fmt.Println("  $ " + line)
	text, err := d.request(ctx, method, path, b)
	fmt.Printf("  %s\n", bytes.TrimSpace(text))
	return text, err
}

func (d *demo) request(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, d.service.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+d.keys.All)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(resp.Body)
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s answered %d: %s", method, path, resp.StatusCode, text)
	}
	return text, err
}

// await polls a job as a client does, and shows its progress.
func (d *demo) await(ctx context.Context, id string) (job, error) {
	path := "/api/jobs/" + id
	fmt.Println("  $ curl \"$HOLDFAST_URL" + path + "\" -H \"Authorization: Bearer $HOLDFAST_API_KEY\"   # polled")
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for {
		text, err := d.request(ctx, http.MethodGet, path, nil)
		if err != nil {
			return job{}, err
		}
		var j job
		if err := json.Unmarshal(text, &j); err != nil {
			return job{}, err
		}
		p := j.ProgressDetails
		if line := fmt.Sprintf("  %-11s %3d %%  %6.1f of %.1f MiB  %s", j.Status, p.Percentage, mib(p.Current), mib(p.Total), p.Message); line != last {
			fmt.Println(line)
			last = line
		}
		switch j.Status {
		case "completed":
			fmt.Printf("  %s\n", bytes.TrimSpace(text))
			return j, nil
		case "failed":
			return job{}, fmt.Errorf("the job failed: %s", j.Error)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return job{}, ctx.Err()
		}
	}
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
