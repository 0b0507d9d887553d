// JavaMail 1.6 and Jakarta Mail 2.0: the same program but for the name of the package, which the script puts in.
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Properties;
import PACKAGE.mail.Message;
import PACKAGE.mail.Session;
import PACKAGE.mail.Transport;
import PACKAGE.mail.internet.InternetAddress;
import PACKAGE.mail.internet.MimeBodyPart;
import PACKAGE.mail.internet.MimeMessage;
import PACKAGE.mail.internet.MimeMultipart;

class JavaMail {
    static final Map<String, String> GIVEN = System.getenv();

    static void address(MimeMessage mail, Message.RecipientType type, String field) throws Exception {
        mail.setRecipients(type, InternetAddress.parse(GIVEN.get(field).replace(' ', ',')));
    }

    static MimeMessage message(Session session, String subject) throws Exception {
        MimeMessage mail = new MimeMessage(session);
        mail.setFrom(new InternetAddress(GIVEN.get("FROM"), GIVEN.get("NAME"), "utf-8"));
        address(mail, Message.RecipientType.TO, "TO");
        address(mail, Message.RecipientType.CC, "CC");
        address(mail, Message.RecipientType.BCC, "BCC");
        mail.setSubject(subject, "utf-8");
        String text = Files.readString(Path.of(GIVEN.get("TEXT")));
        if (GIVEN.containsKey("ATTACHMENT")) {
            MimeBodyPart words = new MimeBodyPart(), scan = new MimeBodyPart();
            words.setText(text, "utf-8");
            scan.attachFile(new File(GIVEN.get("ATTACHMENT")));
            mail.setContent(new MimeMultipart(words, scan));
        } else {
            mail.setText(text, "utf-8");
        }
        mail.saveChanges();
        return mail;
    }

    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.put("mail.smtp.host", GIVEN.get("HOST"));
        settings.put("mail.smtp.port", GIVEN.get("PORT"));
        settings.put("mail.smtp.ssl.trust", GIVEN.get("HOST"));
        settings.put("mail.smtp.ssl.enable", "" + "implicit".equals(GIVEN.get("TLS")));
        settings.put("mail.smtp.starttls.required", "" + "starttls".equals(GIVEN.get("TLS")));
        settings.put("mail.smtp.auth", "" + GIVEN.containsKey("LOGIN"));
        Session session = Session.getInstance(settings);
        try (Transport transport = session.getTransport("smtp")) {
            transport.connect(GIVEN.get("LOGIN"), GIVEN.get("PASSWORD"));
            for (String subject : GIVEN.get("SUBJECTS").split("\n")) {
                MimeMessage mail = message(session, subject);
                transport.sendMessage(mail, mail.getAllRecipients());
            }
        }
    }
}
