#!/bin/sh
# PHPMailer through mail(), as WordPress does where nobody has set up SMTP.
MAILER=mail exec php -d sendmail_path="$SENDMAIL -t -i" "$SCRIPTS/phpmailer.php"
