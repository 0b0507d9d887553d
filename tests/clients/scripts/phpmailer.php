#!/usr/bin/php
<?php
// PHPMailer with its defaults; it keeps the connection where it is told to. With MAILER it calls mail().
foreach (['Exception', 'SMTP', 'PHPMailer'] as $class) {
    require "/usr/share/php/libphp-phpmailer/src/$class.php";
}
$mail = new PHPMailer\PHPMailer\PHPMailer(true);
getenv('MAILER') ? $mail->isMail() : $mail->isSMTP();
$mail->Host = getenv('HOST');
$mail->Port = (int) getenv('PORT');
if (getenv('LOGIN')) {
    [$mail->SMTPAuth, $mail->Username, $mail->Password] = [true, getenv('LOGIN'), getenv('PASSWORD')];
}
$mail->SMTPSecure = ['implicit' => 'ssl', 'starttls' => 'tls'][getenv('TLS')] ?? '';
$mail->SMTPKeepAlive = true;
$mail->CharSet = 'UTF-8';
foreach (explode("\n", getenv('SUBJECTS')) as $subject) {
    $mail->clearAllRecipients();
    $mail->clearAttachments();
    $mail->setFrom(getenv('FROM'), getenv('NAME'));
    foreach (['TO' => 'addAddress', 'CC' => 'addCC', 'BCC' => 'addBCC'] as $field => $add) {
        foreach (array_filter(explode(' ', getenv($field))) as $address) {
            $mail->$add($address);
        }
    }
    $mail->Subject = $subject;
    $mail->Body = file_get_contents(getenv('TEXT'));
    if (getenv('ATTACHMENT')) {
        $mail->addAttachment(getenv('ATTACHMENT'), 'scan.bin');
    }
    $mail->send();
}
$mail->smtpClose();
