package s3_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"holdfast/vault/blob/s3"
	"holdfast/vault/blob/s3/s3test"
)

func TestSecretsStaySecret(t *testing.T) {
	const secret = "wJalrXUtnFEMI-very-secret"
	c := s3.Config{Endpoint: "http://127.0.0.1:1", Bucket: "bucket", PathStyle: true, AccessKey: "AKIA", SecretKey: s3.NewSecret(secret), Attempts: 1}
	st := open(t, c)
	var logged bytes.Buffer
	for _, log := range []*slog.Logger{slog.New(slog.NewTextHandler(&logged, nil)), slog.New(slog.NewJSONHandler(&logged, nil))} {
		log.Info("config", "config", c, "pointer", &c, "secret", c.SecretKey, "storage", st)
	}
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	said := []string{logged.String(), string(encoded), fmt.Sprint(st), fmt.Sprint(st.PutNew(t.Context(), "a", nil))}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		said = append(said, fmt.Sprintf(verb, c), fmt.Sprintf(verb, &c), fmt.Sprintf(verb, c.SecretKey))
	}
	hidden := struct{ c s3.Config }{c} // fmt reads unexported fields without their methods
	said = append(said, fmt.Sprintf("%#v", st), fmt.Sprintf("%+v", *st), fmt.Sprintf("%+v", hidden), fmt.Sprintf("%#v", hidden))
	for _, endpoint := range []string{"https://user:" + secret + "@host", "ftp://" + secret, "https://host/?" + secret, secret} {
		bad := c
		bad.Endpoint = endpoint
		_, err := s3.New(bad)
		if err == nil {
			t.Errorf("endpoint %q was taken", endpoint)
		}
		said = append(said, fmt.Sprint(err))
	}
	for _, s := range said {
		if strings.Contains(s, secret) || strings.Contains(s, fmt.Sprintf("%x", secret)) {
			t.Errorf("the secret is in %q", s)
		}
	}
}

func TestLoadKeys(t *testing.T) {
	none := func(string) string { return "" }
	for _, c := range []struct {
		text string
		mode os.FileMode
		ok   bool
	}{
		{"access_key = AKIA\nsecret_key = geheim=\n", 0o600, true},
		{"# of the site\n[default]\naws_access_key_id=AKIA\naws_secret_access_key=geheim=\n", 0o400, true},
		{"access_key = AKIA\nsecret_key = geheim=\n", 0o640, false},
		{"access_key = AKIA\n", 0o600, false},
		{"access_key = AKIA\nsecret_key = geheim\nsecret_key = geheim\n", 0o600, false},
		{"geheim\n", 0o600, false},
		{strings.Repeat("#geheim\n", 1000), 0o600, false},
	} {
		name := filepath.Join(t.TempDir(), "keys")
		if err := os.WriteFile(name, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		access, secret, err := s3.LoadKeys(name, none)
		if (err == nil) != c.ok || c.ok && (access != "AKIA" || secret.Reveal() != "geheim=") {
			t.Errorf("%q: %q %v", c.text, access, err)
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("the secret is in %q", err)
		}
	}
	env := map[string]string{s3.EnvAccessKey: "AKIA", s3.EnvSecretKey: "geheim"}
	if access, secret, err := s3.LoadKeys("", func(name string) string { return env[name] }); err != nil || access != "AKIA" || secret.Reveal() != "geheim" {
		t.Errorf("environment: %q %v", access, err)
	}
	if _, _, err := s3.LoadKeys("", none); err == nil {
		t.Error("keys out of nothing")
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := s3.Config{Endpoint: "https://host", Bucket: "bucket", AccessKey: "a", SecretKey: s3.NewSecret("b")}
	open(t, good)
	for name, change := range map[string]func(*s3.Config){
		"no bucket":       func(c *s3.Config) { c.Bucket = "" },
		"bucket elsehost": func(c *s3.Config) { c.Bucket = "evil.example/x" },
		"prefix up":       func(c *s3.Config) { c.Prefix = "a/../b" },
		"prefix slash":    func(c *s3.Config) { c.Prefix = "a/" },
		"no key":          func(c *s3.Config) { c.SecretKey = s3.NewSecret("") },
		"bad CA":          func(c *s3.Config) { c.CA = []byte("none") },
		"small parts":     func(c *s3.Config) { c.Part = 1 << 20 },
		"empty lock":      func(c *s3.Config) { c.Lock = &s3.Lock{} },
	} {
		c := good
		change(&c)
		if _, err := s3.New(c); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestTLS(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket("bucket"); err != nil {
		t.Fatal(err)
	}
	n := 0
	fake := gofakes3.New(backend).Server()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		fake.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	c := s3.Config{Endpoint: server.URL, Bucket: "bucket", PathStyle: true, AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey()}
	err := open(t, c).PutNew(t.Context(), "a", []byte("x"))
	if err == nil || n != 0 || strings.Contains(err.Error(), "attempts") {
		t.Errorf("an unknown authority: %v, %d requests", err, n)
	}
	c.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	put(t, open(t, c), "a", []byte("x"))
}
