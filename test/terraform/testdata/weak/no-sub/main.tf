# The trust of many a guide: whoever has a token of the issuer with that audience.
resource "aws_iam_role" "release" {
  name = "release"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{ # want: a trust policy without a condition on sub: every token of the issuer is trusted
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com" }
      Condition = {
        StringEquals = {
          "token.actions.githubusercontent.com:aud"              = "sts.amazonaws.com"
          "token.actions.githubusercontent.com:repository_id"    = "2002"
          "token.actions.githubusercontent.com:job_workflow_ref" = "acme/app/.github/workflows/release.yml@refs/heads/main"
        }
      }
    }]
  })
}
