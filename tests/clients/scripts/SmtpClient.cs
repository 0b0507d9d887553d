// System.Net.Mail.SmtpClient, as .NET programs of the last twenty years use it.
using System;
using System.IO;
using System.Net;
using System.Net.Mail;
using System.Text;

class Send {
    static string Given(string name) { return Environment.GetEnvironmentVariable(name) ?? ""; }

    static void Add(MailAddressCollection list, string field) {
        foreach (var address in Given(field).Split(new[] {' '}, StringSplitOptions.RemoveEmptyEntries)) list.Add(address);
    }

    static void Main() {
        var client = new SmtpClient(Given("HOST"), int.Parse(Given("PORT")));
        if (Given("LOGIN") != "") client.Credentials = new NetworkCredential(Given("LOGIN"), Given("PASSWORD"));
        foreach (var subject in Given("SUBJECTS").Split('\n')) {
            var mail = new MailMessage();
            mail.From = new MailAddress(Given("FROM"), Given("NAME"), Encoding.UTF8);
            Add(mail.To, "TO");
            Add(mail.CC, "CC");
            Add(mail.Bcc, "BCC");
            mail.SubjectEncoding = mail.BodyEncoding = Encoding.UTF8;
            mail.Subject = subject;
            mail.Body = File.ReadAllText(Given("TEXT"));
            if (Given("ATTACHMENT") != "") mail.Attachments.Add(new Attachment(Given("ATTACHMENT"), "application/octet-stream"));
            client.Send(mail);
        }
    }
}
