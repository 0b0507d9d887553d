#!/usr/bin/php
<?php
// Symfony Mailer, and so Laravel, with its defaults.
require '/usr/share/php/Symfony/Component/Mailer/autoload.php';
use Symfony\Component\Mailer\Mailer;
use Symfony\Component\Mailer\Transport;
use Symfony\Component\Mime\Address;
use Symfony\Component\Mime\Email;

$login = getenv('LOGIN') ? getenv('LOGIN') . ':' . getenv('PASSWORD') . '@' : '';
$dsn = (getenv('TLS') === 'implicit' ? 'smtps' : 'smtp') . "://$login" . getenv('HOST') . ':' . getenv('PORT');
$mailer = new Mailer(Transport::fromDsn($dsn));
foreach (explode("\n", getenv('SUBJECTS')) as $subject) {
    $mail = (new Email())->from(new Address(getenv('FROM'), getenv('NAME')))->subject($subject);
    $mail->to(...explode(' ', getenv('TO')));
    $mail->cc(...array_filter(explode(' ', getenv('CC'))));
    $mail->bcc(...array_filter(explode(' ', getenv('BCC'))));
    $mail->text(file_get_contents(getenv('TEXT')));
    if (getenv('ATTACHMENT')) {
        $mail->attachFromPath(getenv('ATTACHMENT'), 'scan.bin', 'application/octet-stream');
    }
    $mailer->send($mail);
}
