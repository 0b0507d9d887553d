// net/smtp: SendMail for one message, a Client for several.
package main

import (
	"fmt"
	"log"
	"net/smtp"
	"os"
	"strings"
)

func send(client *smtp.Client, content []byte) error {
	if err := client.Mail(os.Getenv("FROM")); err != nil {
		return err
	}
	for _, recipient := range strings.Fields(os.Getenv("RECIPIENTS")) {
		if err := client.Rcpt(recipient); err != nil {
			return err
		}
	}
	writer, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := writer.Write(content); err != nil {
		return err
	}
	return writer.Close()
}

func sendAll(server string) error {
	client, err := smtp.Dial(server)
	if err != nil {
		return err
	}
	for number := range strings.Split(os.Getenv("SUBJECTS"), "\n") {
		content, err := os.ReadFile(fmt.Sprintf("%d.eml", number+1))
		if err != nil {
			return err
		}
		if err := send(client, content); err != nil {
			return err
		}
	}
	return client.Quit()
}

func main() {
	server := os.Getenv("HOST") + ":" + os.Getenv("PORT")
	var auth smtp.Auth
	if os.Getenv("LOGIN") != "" {
		auth = smtp.PlainAuth("", os.Getenv("LOGIN"), os.Getenv("PASSWORD"), os.Getenv("HOST"))
	}
	var err error
	if os.Getenv("TIMES") == "1" {
		var content []byte
		if content, err = os.ReadFile("1.eml"); err == nil {
			err = smtp.SendMail(server, auth, os.Getenv("FROM"), strings.Fields(os.Getenv("RECIPIENTS")), content)
		}
	} else {
		err = sendAll(server)
	}
	if err != nil {
		log.Fatal(err)
	}
}
